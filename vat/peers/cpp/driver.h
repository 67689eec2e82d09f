// The cases of the C++ side: what it does to the Peer of another implementation.
#pragma once

#include <kj/async-io.h>
#include <cstring>
#include <iostream>
#include <string>

#include "object.h"

// Own is an object to hand over, and the capability for it.
struct Own {
  Own(): Own(kj::heap<PeerImpl>()) {}
  explicit Own(kj::Own<PeerImpl> o): object(*o), cap(kj::mv(o)) {}
  PeerImpl& object;
  Peer::Client cap;
};

struct Driver {
  kj::AsyncIoContext& io;
  Peer::Client peer;

  kj::Promise<void> notes(Peer::Client to, uint32_t from, uint32_t upTo) {
    kj::Vector<kj::Promise<void>> all;
    for (auto n = from; n <= upTo; n++) all.add(PeerImpl::noteOn(to, n));
    return kj::joinPromises(all.releaseAsArray());
  }

  static void wantCounted(const std::vector<uint32_t>& got, uint32_t n) {
    KJ_ASSERT(got.size() == n, got.size(), n);
    for (uint32_t i = 0; i < n; i++) KJ_ASSERT(got[i] == i + 1, "out of order", i, got[i]);
  }

  void wantNotes(Peer::Client of, uint32_t n) {
    auto response = of.notesRequest().send().wait(io.waitScope);
    std::vector<uint32_t> got;
    for (auto x: response.getNotes()) got.push_back(x);
    wantCounted(got, n);
  }

  void wantError(kj::Promise<void> p, kj::Exception::Type type, const char* text) {
    bool done = p.then([]() { return true; }, [&](kj::Exception&& e) {
      KJ_ASSERT(e.getType() == type, e);
      std::string description(e.getDescription().cStr());
      KJ_ASSERT(description.find(text) != std::string::npos, e, text);
      return false;
    }).wait(io.waitScope);
    KJ_ASSERT(!done, "no error", text);
  }

  Peer::Client recorder() { return peer.selfRequest().send().wait(io.waitScope).getInside().getPeer(); }
  Peer::Client promised() { return peer.promiseRequest().send().wait(io.waitScope).getPeer(); }

  kj::Promise<void> settle(Peer::Client to) {
    auto request = peer.settleRequest();
    request.setTo(to);
    return request.send().ignoreResult();
  }

  void echo() {
    for (size_t size: {size_t(0), size_t(1), size_t(100), size_t(1) << 20, size_t(9) << 20}) {
      auto request = peer.echoRequest();
      memset(request.initData(size).begin(), 7, size);
      auto response = request.send().wait(io.waitScope);
      KJ_ASSERT(response.getData().size() == size);
      for (auto b: response.getData()) KJ_ASSERT(b == 7);
    }
  }

  void order() {
    auto r = recorder();
    notes(r, 1, 200).wait(io.waitScope);
    wantNotes(r, 200);
  }

  void exceptions() {
    using T = kj::Exception::Type;
    for (auto type: {T::FAILED, T::OVERLOADED, T::DISCONNECTED, T::UNIMPLEMENTED}) {
      auto request = peer.failRequest();
      request.setKind(static_cast<uint16_t>(type));
      request.setReason("because of it");
      wantError(request.send().ignoreResult(), type, "because of it");
    }
  }

  void unimplemented() {
    wantError(peer.castAs<Stranger>().nothingRequest().send().ignoreResult(), kj::Exception::Type::UNIMPLEMENTED, "");
  }

  void pipelining() {
    auto inside = peer.selfRequest().send().getInside().getPeer();
    auto first = notes(inside, 1, 20);
    auto deep = inside.selfRequest().send().getInside().getPeer();
    auto second = notes(deep, 1, 20);
    wantNotes(deep, 20);
    wantNotes(inside, 20);
    first.wait(io.waitScope);
    second.wait(io.waitScope);
  }

  // Calls before, while and after a promise resolves to something.
  void whileItResolves(Peer::Client to) {
    auto c = promised();
    auto before = notes(c, 1, 50);
    auto settled = settle(to);
    auto after = notes(c, 51, 100);
    c.whenResolved().wait(io.waitScope);
    auto last = notes(c, 101, 150);
    settled.wait(io.waitScope);
    before.wait(io.waitScope);
    after.wait(io.waitScope);
    last.wait(io.waitScope);
  }

  void promise() {
    auto to = recorder();
    whileItResolves(to);
    wantNotes(to, 150);
  }

  void broken() {
    auto c = promised();
    auto first = PeerImpl::noteOn(c, 1);
    peer.settleRequest().send().ignoreResult().wait(io.waitScope);
    wantError(kj::mv(first), kj::Exception::Type::FAILED, "denied");
    wantError(PeerImpl::noteOn(c, 2), kj::Exception::Type::FAILED, "denied");
  }

  void embargo() {
    Own to;
    whileItResolves(to.cap);
    wantCounted(to.object.seen, 150);
  }

  void embargoResults() {
    Own to;
    auto request = peer.passRequest();
    request.setPeer(to.cap);
    auto answer = request.send();
    auto c = answer.getPeer();
    auto before = notes(c, 1, 50);
    auto response = answer.wait(io.waitScope);
    notes(c, 51, 100).wait(io.waitScope);
    before.wait(io.waitScope);
    wantCounted(to.object.seen, 100);
  }

  void cancel() {
    Own to;
    {
      auto request = peer.hangRequest();
      request.setPeer(to.cap);
      auto answer = request.send();
      to.object.awaitNotes(1).wait(io.waitScope);
    }
    to.object.awaitNotes(2).wait(io.waitScope);
    peer.echoRequest().send().wait(io.waitScope);
  }

  kj::Promise<void> write(Peer::Client to, uint32_t n) {
    auto request = to.writeRequest();
    request.setN(n);
    return request.send();
  }

  void streaming() {
    auto r = recorder();
    for (uint32_t n = 1; n <= 200; n++) write(r, n).wait(io.waitScope);
    wantNotes(r, 200);
    // The error of a streamed call comes with it or with a later one: here, after a round trip.
    wantError(write(r, 0).then([this, r]() mutable {
      return r.echoRequest().send().ignoreResult().then([this, r]() mutable { return write(r, 1); });
    }), kj::Exception::Type::FAILED, "bad write");
  }

  void callBack() {
    Own to;
    for (uint32_t n = 1; n <= 5; n++) {
      auto request = peer.callBackRequest();
      request.setPeer(to.cap);
      request.setN(n);
      request.send().wait(io.waitScope);
    }
    wantCounted(to.object.seen, 5);
  }

  void kept() {
    Own to;
    auto request = peer.keepRequest();
    request.setPeer(to.cap);
    request.send().wait(io.waitScope);
    auto back = peer.keptRequest().send().wait(io.waitScope).getPeer();
    back.whenResolved().wait(io.waitScope);
    PeerImpl::noteOn(back, 1).wait(io.waitScope);
    wantCounted(to.object.seen, 1);
    peer.keepRequest().send().wait(io.waitScope);
  }

  void tailCall() {
    auto request = peer.forwardRequest();
    request.setPeer(kj::heap<PeerImpl>());
    request.setData(kj::StringPtr("there and back").asBytes());
    auto response = request.send().wait(io.waitScope);
    KJ_ASSERT(response.getData() == kj::StringPtr("there and back").asBytes());
  }

  void twice() {
    auto response = peer.twiceRequest().send().wait(io.waitScope);
    PeerImpl::noteOn(response.getOne(), 1).wait(io.waitScope);
    PeerImpl::noteOn(response.getTwo(), 2).wait(io.waitScope);
    wantNotes(response.getOne(), 2);
  }

  // The other side says that it goes, or just goes, under a call: when is for the test to say.
  void disconnect() {
    Own to;
    auto request = peer.hangRequest();
    request.setPeer(to.cap);
    auto answer = request.send();
    to.object.awaitNotes(1).wait(io.waitScope);
    std::cout << "hanging" << std::endl;
    wantError(answer.ignoreResult(), kj::Exception::Type::DISCONNECTED, "");
  }

  void arith() {
    auto a = peer.castAs<Arith>();
    auto multiply = a.multiplyRequest();
    multiply.setA(6);
    multiply.setB(7);
    KJ_ASSERT(multiply.send().wait(io.waitScope).getProduct() == 42);
    auto divide = a.divideRequest();
    divide.setNum(45);
    divide.setDenom(7);
    auto result = divide.send().wait(io.waitScope);
    KJ_ASSERT(result.getQuo() == 6 && result.getRem() == 3);
    auto zero = a.divideRequest();
    zero.setNum(1);
    wantError(zero.send().ignoreResult(), kj::Exception::Type::FAILED, "divide by zero");
  }

  void run(kj::StringPtr name) {
    const struct {
      kj::StringPtr name;
      void (Driver::*run)();
    } cases[] = {
      {"echo", &Driver::echo}, {"order", &Driver::order}, {"exceptions", &Driver::exceptions},
      {"unimplemented", &Driver::unimplemented}, {"pipelining", &Driver::pipelining},
      {"promise of the peer's", &Driver::promise}, {"promise that breaks", &Driver::broken},
      {"embargo of a promise", &Driver::embargo}, {"embargo of results", &Driver::embargoResults},
      {"cancellation", &Driver::cancel}, {"streaming", &Driver::streaming}, {"call back", &Driver::callBack},
      {"own capability comes back", &Driver::kept}, {"tail call", &Driver::tailCall},
      {"the same twice", &Driver::twice}, {"disconnect", &Driver::disconnect}, {"arith", &Driver::arith},
    };
    for (auto& c: cases) {
      if (name == c.name) return (this->*c.run)();
    }
    KJ_FAIL_REQUIRE("no such case", name);
  }
};
