// The other side of the tests against the C++ library:
//
//   peer serve ADDRESS          serves a Peer
//   peer call ADDRESS CASE      does CASE to the Peer at ADDRESS
//   peer carol ADDRESS          serves as Carol of the three-party scenario
//   peer bob ADDRESS CAROL      serves as Bob, who imports from CAROL, and keeps his promises at a byte of input
//   peer alice BOB              is Alice
//
// An address is host:port or unix:path. Who serves prints "port N" first, and ends with its standard input. The
// exit code is 0 if all was as it should be.

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>

#include "driver.h"
#include "scenario.h"

namespace {

struct Connection {
  Connection(kj::AsyncIoContext& io, kj::StringPtr address)
      : stream(io.provider->getNetwork().parseAddress(address).wait(io.waitScope)->connect().wait(io.waitScope)),
        client(*stream) {}
  kj::Own<kj::AsyncIoStream> stream;
  capnp::TwoPartyClient client;
};

void serve(kj::AsyncIoContext& io, kj::StringPtr address, capnp::Capability::Client bootstrap,
           kj::Function<void()> onInput) {
  capnp::TwoPartyServer server(kj::mv(bootstrap));
  auto listener = io.provider->getNetwork().parseAddress(address).wait(io.waitScope)->listen();
  auto listening = server.listen(*listener).eagerlyEvaluate(nullptr);
  std::cout << "port " << listener->getPort() << std::endl;
  auto in = io.lowLevelProvider->wrapInputFd(0);
  for (char byte; in->tryRead(&byte, 1, 1).wait(io.waitScope) == 1;) onInput();
}

void run(int argc, char* argv[]) {
  KJ_REQUIRE(argc >= 3, "usage: peer MODE ADDRESS ...");
  kj::StringPtr mode = argv[1], address = argv[2];
  auto io = kj::setupAsyncIo();
  if (mode == "serve") {
    serve(io, address, kj::heap<PeerImpl>(), []() {});
  } else if (mode == "carol") {
    serve(io, address, kj::heap<Carol>(), []() {});
  } else if (mode == "alice") {
    Connection bob(io, address);
    alice(io.waitScope, bob.client.bootstrap().castAs<BobAPI>());
  } else if (argc == 4 && mode == "call") {
    Connection c(io, address);
    Driver{io, c.client.bootstrap().castAs<Peer>()}.run(argv[3]);
  } else if (argc == 4 && mode == "bob") {
    Connection carol(io, argv[3]);
    auto bla = carol.client.bootstrap().castAs<CarolAPI>().capBlaRequest().send().wait(io.waitScope).getCapBla();
    auto paf = kj::newPromiseAndFulfiller<CapBla::Client>();
    serve(io, address, kj::heap<Bob>(kj::mv(paf.promise)), [&]() { paf.fulfiller->fulfill(kj::cp(bla)); });
  } else {
    KJ_FAIL_REQUIRE("unknown mode", mode);
  }
}

}  // namespace

int main(int argc, char* argv[]) {
  try {
    run(argc, argv);
    return 0;
  } catch (kj::Exception& e) {
    std::cerr << kj::str(e).cStr() << std::endl;
    return 1;
  }
}
