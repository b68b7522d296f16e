package powercut

import (
	"bufio"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// flushing is what a server tells of a flush while the thread that has asked for
// it waits: who it was can be seen then.
type flushing struct {
	Thread uint32
	Path   string
}

// tellCallers answers the server's questions for who asks for a flush.
func tellCallers(dir string, questions io.Reader, answers io.Writer) {
	in, out := gob.NewDecoder(questions), gob.NewEncoder(answers)
	for {
		var f flushing
		if in.Decode(&f) != nil {
			return
		}
		caller := ""
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", f.Thread)); err == nil {
			caller = callerOf(filepath.Join(dir, f.Path))
		}
		if out.Encode(caller) != nil {
			return
		}
	}
}

const maxStacks = 4 << 20

// callerOf is the way through functions of ours, the innermost first, to the
// system call that flushes a file now.
func callerOf(path string) string {
	buf := make([]byte, maxStacks)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		call := systemCall.FindStringSubmatch(stack)
		if call == nil {
			continue
		}
		var number, fd int
		if _, err := fmt.Sscanf(call[1], "0x%x, 0x%x", &number, &fd); err != nil || !slices.Contains(flushCalls, number) {
			continue
		}
		if file, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && file == path {
			return frames(stack)
		}
	}
	return ""
}

var (
	systemCall = regexp.MustCompile(`(?m)^(?:syscall|golang\.org/x/sys/unix)\.Syscall6?\((0x[0-9a-f]+, 0x[0-9a-f]+)`)
	// Writes are for files that are opened to be flushed by each.
	flushCalls = []int{syscall.SYS_FSYNC, syscall.SYS_FDATASYNC, syscall.SYS_WRITE, syscall.SYS_PWRITE64}
	frame      = regexp.MustCompile(`^slipstream/(\S+)\(`)
	testOnly   = regexp.MustCompile(`(?:^|/)(?:\w*test|powercut)\.`)
	line       = regexp.MustCompile(`/([^/]+:\d+)`)
)

// frames lists the functions of ours that are no test's, as name (file:line).
func frames(stack string) string {
	var all []string
	lines := bufio.NewScanner(strings.NewReader(stack))
	for lines.Scan() {
		call := frame.FindStringSubmatch(lines.Text())
		if call == nil || !lines.Scan() {
			continue
		}
		at := line.FindStringSubmatch(lines.Text())
		if at == nil || strings.Contains(at[1], "_test.go") || testOnly.MatchString(call[1]) {
			continue
		}
		name := call[1][strings.LastIndex(call[1], "/")+1:]
		all = append(all, fmt.Sprintf("%s (%s)", name, at[1]))
	}
	return strings.Join(all, " < ")
}
