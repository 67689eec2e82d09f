package main

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	main()
	// Output:
	// "Alice": Hello, Alice, my number 1!
	// "Bob and Carol": Hello, Bob, my number 2! Hello, Carol, my number 3!
	// "": error: greeting.capnp:Greeter.greet: object/greeter: greeting.capnp:Greeter.greet panicked: nobody there
	// "Dave": Hello, Dave, my number 1!
	// "": error: greeting.capnp:Greeter.greet: object/greeter: greeting.capnp:Greeter.greet panicked: nobody there
	// "": error: greeting.capnp:Greeter.greet: object/greeter: greeting.capnp:Greeter.greet panicked: nobody there
	// "Erin": error: greeting.capnp:Greeter.greet: object/greeter has stopped: 2 restarts within 1m0s, and again: nobody there
	// told: object/greeter has stopped: 2 restarts within 1m0s, and again: nobody there
}
