//go:build linux

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// Goals with a million messages. Times are judged with MXKEEP_SOAK=1 alone,
// because they need the machine for themselves.
const (
	goalReady    = 3 * time.Second // after a start with nothing of its files in memory
	goalFirstRow = 200 * time.Millisecond
	goalShape    = 3 * time.Second
	goalStatus   = 50 * time.Millisecond
	goalLive     = 128 << 20 // bytes of the heap that live

	dontNeed = 4 // POSIX_FADV_DONTNEED
)

// scale is how large the queue is: 30,000 messages, 100,000 with
// MXKEEP_TORTURE=ci, a million with MXKEEP_SOAK=1.
func scale() (messages int, soak bool) {
	switch {
	case os.Getenv("MXKEEP_SOAK") == "1":
		return 1_000_000, true
	case os.Getenv("MXKEEP_TORTURE") == "ci":
		return 100_000, false
	}
	return 30_000, false
}

// scaleConfig is a relay in front of one host without TLS.
const scaleConfig = `hostname: mx2.corp.example
dns: {servers: ["127.0.0.9:1"]}
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: [%q]
  min_free: 64MiB
domain: corp.example
upstream:
  name: exo
  hosts: [%q]
  tls:
    policy: none
  delivery:
    start_rate: 1000000
  probe:
    every: 1s
    every_bad: 200ms
  health:
    bad: 1
    good: 1
    quiet: 1
    trials: 1
`

// throng is a relay with a large queue.
type throng struct {
	*daemon
	t        *testing.T
	messages int
	soak     bool
	primary  *primary.Server
}

// TestLargeQueue starts the relay on a queue of many messages, each with two
// recipients and three attempts, while the primary is down, and asks it what
// operators ask. Then the primary comes back.
func TestLargeQueue(t *testing.T) {
	if _, soak := scale(); !soak {
		t.Parallel()
	}
	q := newThrong(t)
	q.asked("while it waits")
	q.counts()
	q.lists()
	q.drains()
	most := live(t, q.daemon)
	t.Logf("at most %d MiB of the heap lived (goal %d), it was at most %d MiB at the end of a collection; %d MiB of memory without files",
		most>>20, goalLive>>20, heap(t, q.daemon)>>20, privateMemory(t, q.cmd.Process.Pid)>>20)
	if most >= goalLive {
		t.Errorf("%d MiB of the heap lived", most>>20)
	}
	q.costs()
}

// newThrong fills a store and starts a relay on it that has to read all from the disk.
func newThrong(t *testing.T) *throng {
	t.Helper()
	q := &throng{t: t}
	q.messages, q.soak = scale()
	var err error
	if q.primary, err = primary.Start(context.Background(), primary.Options{Addresses: []string{"127.0.0.61:0"}, Domains: []string{"corp.example"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.primary.Close() })
	q.play("down")
	folder := t.TempDir()
	q.fill(filepath.Join(folder, "data", "queue"))
	q.forgetPages(filepath.Join(folder, "data"))
	config := fmt.Sprintf(scaleConfig, filepath.Join(folder, "data"), filepath.Join(folder, "admin.sock"), unusedAt(t, "127.0.0.62:0"), q.primary.Addrs()[0])
	began := time.Now()
	q.daemon = serveTraced(t, folder, config)
	q.judge("ready with a cold page cache", time.Since(began), goalReady)
	q.until("the primary is down", 20*time.Second, func(st admin.Status) bool { return st.Upstreams[0].State == "down" })
	return q
}

// fill makes the queue, in a process of its own: it is not what is tested.
func (q *throng) fill(folder string) {
	q.t.Helper()
	began := time.Now()
	command := filepath.Join(q.t.TempDir(), "backlog")
	if out, err := exec.Command("go", "build", "-o", command, "./backlog").CombinedOutput(); err != nil {
		q.t.Fatalf("go build: %v\n%s", err, out)
	}
	if out, err := exec.Command(command, "-folder", folder, "-messages", strconv.Itoa(q.messages)).CombinedOutput(); err != nil {
		q.t.Fatalf("backlog: %v\n%s", err, out)
	}
	q.t.Logf("%d messages accepted and tried 3 times each in %s", q.messages, time.Since(began).Round(time.Millisecond))
}

// forgetPages takes the files in a folder out of the page cache, and with
// MXKEEP_SOAK=1 everything else as well.
func (q *throng) forgetPages(folder string) {
	q.t.Helper()
	var bytes int64
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		if about, err := file.Stat(); err == nil {
			bytes += about.Size()
		}
		if _, _, number := syscall.Syscall6(syscall.SYS_FADVISE64, file.Fd(), 0, 0, dontNeed, 0, 0); number != 0 {
			return number
		}
		return nil
	})
	if err != nil {
		q.t.Fatal(err)
	}
	q.t.Logf("%d MiB of files", bytes>>20)
	if q.soak && os.Geteuid() == 0 {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
			q.t.Fatal(err)
		}
	}
}

// judge tells a time, and with MXKEEP_SOAK=1 whether it is short enough.
func (q *throng) judge(what string, took, goal time.Duration) {
	q.t.Helper()
	q.t.Logf("%s: %s (goal %s)", what, took.Round(100*time.Microsecond), goal)
	if q.soak && took >= goal {
		q.t.Errorf("%s took %s, not %s", what, took, goal)
	}
}

func (q *throng) play(name string) {
	q.t.Helper()
	scenario, err := primary.Named(name)
	if err == nil {
		err = q.primary.Play(scenario)
	}
	if err != nil {
		q.t.Fatal(err)
	}
}

// asked asks for the status and for a screenful of the list.
func (q *throng) asked(when string) admin.Status {
	q.t.Helper()
	var st admin.Status
	took := make([]time.Duration, 5)
	for i := range took {
		began := time.Now()
		answer := q.cli("status", "--json", "--exit-code=false")
		took[i] = time.Since(began)
		if err := json.Unmarshal([]byte(answer), &st); err != nil {
			q.t.Fatal(err)
		}
	}
	slices.Sort(took)
	q.t.Logf("status: %v", took)
	q.judge("status "+when, took[len(took)/2], goalStatus)
	if st.Account == nil || st.Account.Accepted != int64(2*q.messages) || st.Account.Missing != 0 || !st.NothingLost {
		q.t.Errorf("status %s: account %+v, trouble %q", when, st.Account, st.Trouble)
	}
	first, rows, all := q.list(nil, "-o", "table")
	q.judge("queue list on a terminal "+when+", first row", first, goalFirstRow)
	q.judge("queue list on a terminal "+when+", whole", all, goalFirstRow)
	if rows != 1+50 && st.Queue.Messages > 50 { // with the titles
		q.t.Errorf("queue list has %d lines on a terminal", rows)
	}
	return st
}

// list lists messages and gives each line to see.
func (q *throng) list(see func(line string), args ...string) (first time.Duration, rows int, all time.Duration) {
	q.t.Helper()
	began := time.Now()
	cmd := exec.Command(binary, append([]string{"--socket", filepath.Join(q.folder, "admin.sock"), "queue", "list"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		q.t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); rows++ {
		if rows == 0 {
			first = time.Since(began)
		}
		if see != nil {
			see(lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		q.t.Errorf("queue list: %v", err)
	}
	return first, rows, time.Since(began)
}

// lists reads the whole list: every message once, in order, the first before the last is read.
func (q *throng) lists() {
	q.t.Helper()
	last, wrong := "", 0
	first, rows, all := q.list(func(line string) {
		id, rest, _ := strings.Cut(line, "\t")
		if state, tries, _ := strings.Cut(rest, "\t"); id <= last || state != "deferred" || tries < "3" {
			wrong++
		}
		last = id
	}, "-o", "tsv", "--fields", "id,state,attempts")
	q.judge("queue list of all, first row", first, goalFirstRow)
	q.t.Logf("queue list of all, %d rows: %s", rows, all.Round(time.Millisecond))
	if rows != q.messages || wrong > 0 {
		q.t.Errorf("%d of %d messages are listed, %d of them wrong", rows, q.messages, wrong)
	}
	if first > all/2 {
		q.t.Errorf("the first row came after %s, all after %s", first, all)
	}
}

// counts asks for the shape of the queue: first when it has to be read from the
// disk, then three times each, of which the shortest counts: others use the
// processors as well.
func (q *throng) counts() {
	q.t.Helper()
	q.t.Logf("queue stats from the disk: %s", q.shape("domain").Round(time.Millisecond))
	for _, by := range []string{"domain", "reply", "from"} {
		spent := processorTime(q.t, q.cmd.Process.Pid)
		took := q.shape(by)
		if q.soak {
			took = min(took, q.shape(by), q.shape(by))
		}
		spent = processorTime(q.t, q.cmd.Process.Pid) - spent
		q.t.Logf("queue stats by %s: processor time of all tries %s", by, spent)
		q.judge("queue stats by "+by, took, goalShape)
	}
}

// shape asks for the shape once.
func (q *throng) shape(by string) (took time.Duration) {
	q.t.Helper()
	var shape admin.Shape
	began := time.Now()
	answer := q.cli("queue", "stats", "--json", "--by", by)
	took = time.Since(began)
	if err := json.Unmarshal([]byte(answer), &shape); err != nil {
		q.t.Fatal(err)
	}
	rows, why := 0, 0
	for _, row := range shape.Rows {
		rows += row.Total
	}
	for _, reason := range shape.Why {
		why += reason.Messages
	}
	if shape.All.Total != q.messages || rows != q.messages || why != q.messages {
		q.t.Errorf("queue stats by %s counts %d messages, %d in rows, %d with a reason", by, shape.All.Total, rows, why)
	}
	return took
}

// drains lets the primary come back, and asks again while the mail goes out.
func (q *throng) drains() {
	q.t.Helper()
	const some, more = 200, 2000
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	q.play("healthy")
	for _, n := range []int{1, some} {
		if _, err := q.primary.Await(ctx, n); err != nil {
			q.t.Fatal(err)
		}
		q.t.Logf("delivery %d came %s after the primary was back", n, time.Since(began).Round(time.Millisecond))
	}
	st := q.asked("while it drains")
	if st.State != admin.Draining && st.State != admin.Holding {
		q.t.Errorf("the state is %s", st.State)
	}
	if _, err := q.primary.Await(ctx, more); err != nil {
		q.t.Fatal(err)
	}
	q.t.Logf("delivery %d came %s after the primary was back", more, time.Since(began).Round(time.Millisecond))
	q.play("down")
	seen := map[string]bool{}
	for _, d := range q.primary.Received() {
		seen[d.Recipients[0]] = true
	}
	if n := len(q.primary.Received()); len(seen) != n {
		q.t.Errorf("%d deliveries of %d messages", n, len(seen))
	}
}
