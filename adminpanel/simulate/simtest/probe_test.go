package simtest

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/simulate"
)

func TestMain(m *testing.M) { Main(m) }

func rss(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(v)[0])
			return n
		}
	}
	return 0
}

func TestProbe(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("N"))
	p := New(t, nil)
	debug.FreeOSMemory()
	before := rss(os.Getpid())
	g := runtime.NumGoroutine()
	at := time.Now()
	s := Start(t, simulate.Config{Panel: p.URL, Token: p.Token, Devices: n})
	p.UntilOnline(n, 5*time.Minute)
	fmt.Println("online after", time.Since(at), "counts", s.Counts())
	time.Sleep(12 * time.Second)
	fmt.Println("raw rss/dev", (rss(os.Getpid())-before)*1024/n, "swarm", rss(s.PID())*1024/n)
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	fmt.Println("rss/dev", (rss(os.Getpid())-before)*1024/n, "heap", int(ms.HeapInuse)/n, "stack", int(ms.StackInuse)/n, "goroutines", float64(runtime.NumGoroutine()-g)/float64(n))
	f, _ := os.Create("/tmp/sim9-heap.pb")
	pprof.Lookup("heap").WriteTo(f, 0)
	f.Close()
	c, _ := os.Create("/tmp/sim9-cpu.pb")
	pprof.StartCPUProfile(c)
	time.Sleep(10 * time.Second)
	pprof.StopCPUProfile()
	c.Close()
}
