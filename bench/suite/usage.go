package suite

import (
	"runtime"
	"syscall"
	"time"
)

// Usage is what a process has used since its start.
type Usage struct {
	Mallocs uint64        `json:"mallocs"`
	CPU     time.Duration `json:"cpu"` // in user code and in the kernel
}

func (u Usage) plus(v Usage) Usage { return Usage{u.Mallocs + v.Mallocs, u.CPU + v.CPU} }

// ownUsage is of this process.
func ownUsage() (Usage, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var r syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return Usage{m.Mallocs, time.Duration(r.Utime.Nano() + r.Stime.Nano())}, err
}
