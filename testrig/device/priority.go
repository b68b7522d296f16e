package device

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// priority is the nice value of everything that is compared: other work on the
// machine should not look like a fault of an update.
const priority = -15

// RaisePriority gives all threads the priority, which the processes that they
// start inherit. It needs a privilege; without it a measurement has the other
// work too, and the comparison has to bear it.
func RaisePriority() (raised bool) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return false
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil || unix.Setpriority(unix.PRIO_PROCESS, tid, priority) != nil {
			return false
		}
	}
	return true
}
