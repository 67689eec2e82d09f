package trace

import (
	"fmt"
	"reflect"
	"time"
)

// Event is one message as one of its two ends saw it. Line has From and To, but neither T nor At: when it was
// is At here.
type Event struct {
	Out  bool      `json:"out"` // seen by Line.From, sending it; else by Line.To, receiving it
	At   time.Time `json:"at"`
	Line Line      `json:"line"`
}

// Message is one message of the exchange as both of its ends saw it.
type Message struct {
	Line
	// Row orders what is concurrent. A row above zero is one of the protocol's table, and shown. Pair leaves
	// it zero.
	Row int

	known map[link]int // by link into the sender: how many messages of it the sender had received
}

// link is one direction between two vats.
type link struct{ from, to string }

func (l Line) link() link { return link{l.From, l.To} }

// A MismatchError says that the events do not describe one exchange.
type MismatchError struct {
	From, To string // the link
	Index    int    // of the message on that link, from 0
	Problem  string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("trace: message %d from %s to %s: %s", e.Index, e.From, e.To, e.Problem)
}

// Pair joins what the vats saw, each log in the order in which one vat saw it, into messages, in no
// particular order but that of each link. A message that was sent and not received has no At. A receipt
// without a sending, or two ends that saw different messages, are a [*MismatchError].
func Pair(logs ...[]Event) ([]Message, error) {
	var messages []Message
	sent := make(map[link][]int) // indices into messages
	for _, log := range logs {
		received := make(map[link]int)
		for _, e := range log {
			l := e.Line.link()
			if !e.Out {
				received[l]++
				continue
			}
			m := Message{Line: e.Line, known: clone(received)}
			m.T = e.At
			sent[l] = append(sent[l], len(messages))
			messages = append(messages, m)
		}
	}
	for _, log := range logs {
		received := make(map[link]int)
		for _, e := range log {
			if e.Out {
				continue
			}
			l := e.Line.link()
			k := received[l]
			received[l]++
			if k >= len(sent[l]) {
				return nil, &MismatchError{l.from, l.to, k, "was received, but never sent"}
			}
			if err := messages[sent[l][k]].arrive(e, k); err != nil {
				return nil, err
			}
		}
	}
	return messages, nil
}

// arrive notes the receipt of m, the k-th message on its link.
func (m *Message) arrive(e Event, k int) error {
	there := m.Line
	there.T = time.Time{}
	if !reflect.DeepEqual(there, e.Line) {
		return &MismatchError{m.From, m.To, k, fmt.Sprintf("%s was sent, but %s received", there.text(), e.Line.text())}
	}
	m.At = e.At
	return nil
}

func clone(counts map[link]int) map[link]int {
	c := make(map[link]int, len(counts))
	for l, n := range counts {
		c[l] = n
	}
	return c
}
