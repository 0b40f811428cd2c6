package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The functions of this file ask proc(5), and so Linux, about a process.

// processorTime is what a process has used of the processors so far, in steps of 10 ms.
func processorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from the third field on
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// statusLine is the number behind a word of a status file of proc(5).
func statusLine(t testing.TB, path, word string) int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+word+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		t.Fatalf("%s has no %s", path, word)
	}
	number, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// privateMemory is the memory of a process that no file is behind, in bytes.
func privateMemory(t testing.TB, pid int) int64 {
	t.Helper()
	return statusLine(t, fmt.Sprintf("/proc/%d/status", pid), "RssAnon") << 10
}

// descriptors is how many a process has open.
func descriptors(t testing.TB, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// switches is how often threads of a process have waited for something.
func switches(t testing.TB, pid int) (all int64) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads of %d: %q, %v", pid, threads, err)
	}
	for _, thread := range threads {
		all += statusLine(t, thread, "voluntary_ctxt_switches")
	}
	return all
}

// heap is the largest heap of a daemon that serveTraced started, in bytes, at the ends
// of its collections: objects that live, and those that are not swept yet. So
// /memory/classes/heap/objects:bytes was never larger.
func heap(t testing.TB, d *daemon) (most int64) { return collections(t, d, 1) }

// live is the most of that heap that lived.
func live(t testing.TB, d *daemon) (most int64) { return collections(t, d, 2) }

// collections is the largest of one of the heapSizes.
func collections(t testing.TB, d *daemon, which int) (most int64) {
	t.Helper()
	log, err := os.ReadFile(d.folder + "/relay.log")
	if err != nil {
		t.Fatal(err)
	}
	found := heapSizes.FindAllSubmatch(log, -1)
	for _, sizes := range found {
		mib, _ := strconv.ParseInt(string(sizes[which]), 10, 64)
		most = max(most, (mib+1)<<20) // it is rounded down
	}
	if len(found) == 0 {
		t.Fatal("nothing about the garbage collector in the log")
	}
	return most
}

// heapSizes are, in the line about a collection, the sizes at its beginning, at
// its end, and of what lives. Lines of the log may stand between its parts.
var heapSizes = regexp.MustCompile(`\d+->(\d+)->(\d+) MB, `)
