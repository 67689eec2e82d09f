package cluster

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// newLog returns what memberlist logs to. memberlist writes lines such as "[WARN] memberlist: text"; the
// brackets become the level. A handler quotes what strangers chose; memberlist does not.
func newLog(logger *slog.Logger) *log.Logger {
	return log.New(logWriter{logger}, "", 0)
}

type logWriter struct{ logger *slog.Logger }

var logLevels = []struct {
	prefix string
	level  slog.Level
}{
	{"[DEBUG] ", slog.LevelDebug},
	{"[INFO] ", slog.LevelInfo},
	{"[WARN] ", slog.LevelWarn},
	{"[ERR] ", slog.LevelError},
}

// Write takes one line; log.Logger makes one call a line.
func (w logWriter) Write(line []byte) (int, error) {
	text := bytes.TrimRight(line, "\n")
	level := slog.LevelInfo
	for _, l := range logLevels {
		if rest, ok := bytes.CutPrefix(text, []byte(l.prefix)); ok {
			text, level = rest, l.level
			break
		}
	}
	text = bytes.TrimPrefix(text, []byte("memberlist: "))
	w.logger.Log(context.Background(), level, string(text), slog.String("from", "memberlist"))
	return len(line), nil
}
