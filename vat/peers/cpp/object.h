// The Peer of the C++ side.
#pragma once

#include <kj/async.h>
#include <kj/debug.h>
#include <vector>

#include "peerapi.capnp.h"

class PeerImpl final: public Peer::Server {
public:
  kj::Promise<void> echo(EchoContext context) override {
    context.getResults().setData(context.getParams().getData());
    return kj::READY_NOW;
  }

  kj::Promise<void> note(NoteContext context) override {
    record(context.getParams().getN());
    return kj::READY_NOW;
  }

  kj::Promise<void> notes(NotesContext context) override {
    auto list = context.getResults().initNotes(seen.size());
    for (size_t i = 0; i < seen.size(); i++) list.set(i, seen[i]);
    return kj::READY_NOW;
  }

  kj::Promise<void> self(SelfContext context) override {
    auto inside = context.getResults().initInside();
    inside.setName("inside");
    inside.setPeer(kj::heap<PeerImpl>());
    return kj::READY_NOW;
  }

  kj::Promise<void> promise(PromiseContext context) override {
    auto paf = kj::newPromiseAndFulfiller<Peer::Client>();
    fulfillers.push_back(kj::mv(paf.fulfiller));
    context.getResults().setPeer(kj::mv(paf.promise));
    return kj::READY_NOW;
  }

  kj::Promise<void> settle(SettleContext context) override {
    auto params = context.getParams();
    for (auto& f: fulfillers) {
      if (params.hasTo()) {
        f->fulfill(params.getTo());
      } else {
        f->reject(KJ_EXCEPTION(FAILED, "denied"));
      }
    }
    fulfillers.clear();
    return kj::READY_NOW;
  }

  kj::Promise<void> fail(FailContext context) override {
    auto params = context.getParams();
    return kj::Exception(static_cast<kj::Exception::Type>(params.getKind()), __FILE__, __LINE__,
                         kj::str(params.getReason()));
  }

  kj::Promise<void> hang(HangContext context) override {
    context.allowCancellation();
    auto to = context.getParams().getPeer();
    auto last = kj::defer([to]() mutable { noteOn(to, 2).detach([](kj::Exception&&) {}); });
    return noteOn(to, 1).then([]() -> kj::Promise<void> { return kj::NEVER_DONE; }).attach(kj::mv(last));
  }

  kj::Promise<void> write(WriteContext context) override {
    auto n = context.getParams().getN();
    KJ_REQUIRE(n != 0, "bad write");
    record(n);
    return kj::READY_NOW;
  }

  kj::Promise<void> callBack(CallBackContext context) override {
    auto params = context.getParams();
    return noteOn(params.getPeer(), params.getN());
  }

  kj::Promise<void> pass(PassContext context) override {
    context.getResults().setPeer(context.getParams().getPeer());
    return kj::READY_NOW;
  }

  kj::Promise<void> keep(KeepContext context) override {
    auto params = context.getParams();
    held = nullptr;
    if (params.hasPeer()) held = params.getPeer();
    return kj::READY_NOW;
  }

  kj::Promise<void> kept(KeptContext context) override {
    KJ_IF_MAYBE(h, held) context.getResults().setPeer(*h);
    return kj::READY_NOW;
  }

  kj::Promise<void> forward(ForwardContext context) override {
    auto params = context.getParams();
    if (!params.hasPeer()) {
      context.getResults().setData(params.getData());
      return kj::READY_NOW;
    }
    auto request = params.getPeer().forwardRequest();
    request.setData(params.getData());
    return context.tailCall(kj::mv(request));
  }

  kj::Promise<void> twice(TwiceContext context) override {
    Peer::Client peer = kj::heap<PeerImpl>();
    auto results = context.getResults();
    results.setOne(peer);
    results.setTwo(peer);
    return kj::READY_NOW;
  }

  // noteOn calls note on another Peer.
  static kj::Promise<void> noteOn(Peer::Client to, uint32_t n) {
    auto request = to.noteRequest();
    request.setN(n);
    return request.send().ignoreResult();
  }

  // awaitNotes waits until n notes have come. One caller at a time.
  kj::Promise<void> awaitNotes(size_t n) {
    if (seen.size() >= n) return kj::READY_NOW;
    auto paf = kj::newPromiseAndFulfiller<void>();
    waiting = kj::mv(paf.fulfiller);
    return paf.promise.then([this, n]() { return awaitNotes(n); });
  }

  std::vector<uint32_t> seen;

private:
  std::vector<kj::Own<kj::PromiseFulfiller<Peer::Client>>> fulfillers;
  kj::Maybe<Peer::Client> held;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> waiting;

  void record(uint32_t n) {
    seen.push_back(n);
    KJ_IF_MAYBE(w, waiting) (*w)->fulfill();
  }
};
