// Command oneprocess runs the three programs of package threeparty in one process, each with a vat of its own, over
// an in-memory network. It prints the calls that Carol's objects got, in the order in which they got them,
// and what Alice got in the end.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer) error {
	memory := transport.NewMemory()
	var printing sync.Mutex // Carol's objects run at the same time
	bob, bobAPI := threeparty.NewBob(nil)
	carolAPI := threeparty.NewCarol(func(_ context.Context, what string) {
		printing.Lock()
		defer printing.Unlock()
		fmt.Fprintln(w, "carol gets", what)
	})
	vats := make(map[string]*vat.Vat)
	for name, bootstrap := range map[string]capnp.Client{
		"alice": {}, "bob": capnp.Client(bobAPI), "carol": capnp.Client(carolAPI),
	} {
		v, err := newVat(memory, name, bootstrap)
		if err != nil {
			return err
		}
		defer v.Close()
		vats[name] = v
	}
	if err := bob.Start(ctx, vats["bob"], vats["carol"].ID()); err != nil {
		return err
	}
	defer bob.LetGo()

	var alice threeparty.Alice
	defer alice.LetGo()
	if err := alice.Ask(ctx, vats["alice"], vats["bob"].ID(), "first"); err != nil {
		return err
	}
	bob.Resolve()
	result, err := alice.Use(ctx, "water", "second")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, "alice gets", result)
	return err
}

// newVat makes a vat. The memory serves as its directory: it knows where each vat is.
func newVat(memory *transport.Memory, name string, bootstrap capnp.Client) (*vat.Vat, error) {
	network, err := memory.Vat(name, transport.Config{Name: name})
	if err != nil {
		return nil, err
	}
	v, err := vat.New(vat.Config{
		Network:     network,
		Directory:   memory,
		Bootstrap:   bootstrap,
		EarlyReturn: threeparty.EarlyReturns(),
	})
	if err != nil {
		return nil, errors.Join(err, network.Close()) // the vat did not take it over
	}
	return v, nil
}
