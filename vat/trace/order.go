package trace

import (
	"cmp"
	"slices"
)

// Linearize returns the messages of [Pair] in one order: causal, and by Row where causality leaves the choice,
// then by the names of the sender and the receiver. Messages with the same link keep their order. An
// exchange whose effects come before their causes is a [*MismatchError].
func Linearize(messages []Message) ([]Message, error) {
	queues := make(map[link][]Message)
	var links []link
	for _, m := range messages {
		l := m.link()
		if queues[l] == nil {
			links = append(links, l)
		}
		queues[l] = append(queues[l], m)
	}
	slices.SortFunc(links, func(a, b link) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	told := make(map[link]int)
	ordered := make([]Message, 0, len(messages))
	for len(ordered) < len(messages) {
		next, ok := pick(links, queues, told)
		if !ok {
			return nil, stuck(links, queues, told)
		}
		ordered = append(ordered, queues[next][0])
		queues[next] = queues[next][1:]
		told[next]++
	}
	return ordered, nil
}

// pick chooses the link whose first message comes next: the lowest row among those whose causes have all
// been told. Links are in their stable order, so the first of equals wins.
func pick(links []link, queues map[link][]Message, told map[link]int) (best link, ok bool) {
	for _, l := range links {
		if len(queues[l]) == 0 || !queues[l][0].ready(told) {
			continue
		}
		if !ok || queues[l][0].Row < queues[best][0].Row {
			best, ok = l, true
		}
	}
	return best, ok
}

// ready reports whether all that m's sender had received when it sent m has been told.
func (m Message) ready(told map[link]int) bool {
	for l, n := range m.known {
		if told[l] < n {
			return false
		}
	}
	return true
}

func stuck(links []link, queues map[link][]Message, told map[link]int) error {
	for _, l := range links {
		if len(queues[l]) > 0 {
			return &MismatchError{l.from, l.to, told[l], "was seen before what caused it"}
		}
	}
	return nil
}
