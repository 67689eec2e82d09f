package flood

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// The tables of LIMITS.md have each limit, in the order of its type, with its default.
func TestTableOfLimits(t *testing.T) {
	text := string(must(os.ReadFile("../LIMITS.md")))
	for heading, limits := range map[string]any{"vat.Limits": vat.DefaultLimits(), "transport.Limits": transport.DefaultLimits()} {
		t.Run(heading, func(t *testing.T) {
			_, section, found := strings.Cut(text, "## `"+heading+"`\n")
			if !found {
				t.Fatal("no such section")
			}
			section, _, _ = strings.Cut(section, "\n## ")
			var got, want []string
			for line := range strings.Lines(section) {
				if cells := strings.Split(line, "|"); len(cells) > 3 && strings.HasPrefix(cells[1], " `") {
					got = append(got, strings.TrimSpace(cells[1])+" "+strings.TrimSpace(cells[2]))
				}
			}
			v := reflect.ValueOf(limits)
			for i := range v.NumField() {
				want = append(want, fmt.Sprintf("`%s` %s", v.Type().Field(i).Name, written(v.Field(i))))
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the table says\n\t%s\nthe defaults are\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		})
	}
}

// written is a default as it is written in the table.
func written(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	n := uint64(0)
	if v.CanInt() {
		n = uint64(v.Int())
	} else {
		n = v.Uint()
	}
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
