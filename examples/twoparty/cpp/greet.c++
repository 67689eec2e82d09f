#include <capnp/ez-rpc.h>
#include <iostream>
#include "greeting.capnp.h"

// Run with the address of the vat, for example unix:/run/greeter or 127.0.0.1:4711.
int main(int argc, char* argv[]) {
  capnp::EzRpcClient client(argv[1]);
  auto request = client.getMain<Greeter>().greetRequest();
  request.setName("C++");
  std::cout << request.send().wait(client.getWaitScope()).getGreeting().cStr() << std::endl;
}
