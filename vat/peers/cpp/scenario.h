// Alice, Bob and Carol of the three-party scenario, as peers of level 1.
#pragma once

#include <kj/async-io.h>
#include <kj/debug.h>
#include <iostream>

#include "threeparty.capnp.h"

class CapBarImpl final: public CapBar::Server {
public:
  explicit CapBarImpl(kj::String arg): arg(kj::mv(arg)) {}
  kj::Promise<void> creek(CreekContext context) override {
    auto creekArg = context.getParams().getCreekArg();
    std::cout << "creek " << creekArg.cStr() << std::endl;
    context.getResults().setCreekResult(kj::str(creekArg, " of ", arg));
    return kj::READY_NOW;
  }

private:
  kj::String arg;
};

class CapBlaImpl final: public CapBla::Server {
public:
  kj::Promise<void> bar(BarContext context) override {
    auto arg = context.getParams().getBarArg();
    std::cout << "bar " << arg.cStr() << std::endl;
    context.getResults().setCapBar(kj::heap<CapBarImpl>(kj::str(arg)));
    return kj::READY_NOW;
  }
};

class Carol final: public CarolAPI::Server {
public:
  kj::Promise<void> capBla(CapBlaContext context) override {
    context.getResults().setCapBla(bla);
    return kj::READY_NOW;
  }

private:
  CapBla::Client bla = kj::heap<CapBlaImpl>();
};

class Bob final: public BobAPI::Server {
public:
  explicit Bob(kj::Promise<CapBla::Client> bla): bla(bla.fork()) {}
  kj::Promise<void> foo(FooContext context) override {
    std::cout << "foo" << std::endl;
    context.getResults().setCapBla(bla.addBranch());
    return kj::READY_NOW;
  }

private:
  kj::ForkedPromise<CapBla::Client> bla;
};

// Calls bar and creek before it is known what they are on, and bar again; says so, and then what creek gave.
inline void alice(kj::WaitScope& scope, BobAPI::Client bob) {
  auto capBla = bob.fooRequest().send().getCapBla();
  auto bar = capBla.barRequest();
  bar.setBarArg("first");
  auto capBar = bar.send().getCapBar();
  auto creek = capBar.creekRequest();
  creek.setCreekArg("water");
  auto water = creek.send();
  auto again = capBla.barRequest();
  again.setBarArg("second");
  auto second = again.send();
  std::cout << "asked" << std::endl;
  auto result = water.wait(scope);
  second.wait(scope);
  std::cout << result.getCreekResult().cStr() << std::endl;
}
