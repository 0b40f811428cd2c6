package milter

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// rspamdConfig is as little as it takes: no network, no rules but two: one tells
// what was understood, the other finds a subject doubtful. Spam is what has the
// test pattern.
const rspamdConfig = `
options {
  pidfile = "%[1]s/pid"; control_socket = "%[1]s/control mode=0600"; hs_cache_dir = "%[1]s"; tempdir = "%[1]s"; url_tld = "%[1]s/tld";
  filters = ""; dns { nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }
}
lang_detection { languages = "%[1]s/languages"; }
lua = "%[1]s/told.lua";
logging { type = "console"; level = "info"; color = false; }
actions { reject = 15; add_header = 6; }
worker "rspamd_proxy" { bind_socket = "%[1]s/milter mode=0600"; milter = yes; count = 1; timeout = 10s; upstream "local" { default = yes; self_scan = yes; } }
worker "rspamd_proxy" { bind_socket = "%[1]s/careful mode=0600"; milter = yes; count = 1; timeout = 10s; quarantine_on_reject = yes; upstream "local" { default = yes; self_scan = yes; } }
`

const rspamdRule = `
rspamd_config:register_symbol{name = 'MAYBE', type = 'prefilter', callback = function(task)
  if task:get_header('Subject') == 'maybe' then task:set_pre_result('add header', 'maybe') end
end}
rspamd_config:register_symbol{name = 'TOLD', type = 'postfilter', callback = function(task)
  local function word(s) return tostring(s) end
  local to = {}
  for _, r in ipairs(task:get_recipients('smtp') or {}) do to[#to + 1] = r.addr end
  local from = task:get_from('smtp')
  task:set_milter_reply({add_headers = {['X-Told'] = table.concat({word(task:get_ip()), word(task:get_hostname()), word(task:get_helo()),
    from and from[1] and from[1].addr or '-', table.concat(to, ','), word(task:get_queue_id()), word(task:get_request_header('TLS-Version')),
    word(task:get_header('Subject')), word(#task:get_received_headers())}, ' ')}})
end}
`

// rspamd starts the real one and returns the folder of its sockets.
func rspamd(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("rspamd")
	if err != nil {
		t.Skip("rspamd is not here: apt-get install rspamd")
	}
	folder, err := os.MkdirTemp("", "rspamd") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Mkdir(filepath.Join(folder, "languages"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"rspamd.conf": fmt.Sprintf(rspamdConfig, folder), "told.lua": rspamdRule, "tld": "example\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "-c", filepath.Join(folder, "rspamd.conf"), "-f", "-i")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its workers go with it
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	lines, ready, ended := bufio.NewScanner(out), make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines.Scan() {
			log.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "listening for control commands") {
				ready <- true
			}
		}
		close(ready)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	if !<-ready {
		t.Fatal("rspamd does not start")
	}
	return folder
}

// gtube is spam to everybody.
const gtube = "Subject: x\r\n\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"

// TestRspamd: what rspamd is told it understands, and what it says is done.
func TestRspamd(t *testing.T) {
	folder := rspamd(t)
	open := func(socket string) *Filter {
		f, err := New(Options{Name: "rspamd", Network: "unix", Address: filepath.Join(folder, socket), OnFailure: Defer})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := open("milter")
	v := ask(t, message("Received: from x.example by y.example; Tue, 3 Mar 2026 10:00:00 +0000\r\nSubject: hello\r\n\r\n"+strings.Repeat("a line of text\r\n", 10000)), f)
	if v.Action != Accept || string(v.Header) != "X-Told: 192.0.2.1 client.example helo.example s@far.example a@d.example,b@d.example k3m9x2q7w4te TLSv1.3 hello 2\r\n" {
		t.Errorf("%+v %s", v, v.Header)
	}
	m := message("Subject: hello\r\n\r\n")
	m.Host, m.ReversePath, m.TLS = "", "", ""
	if v := ask(t, m, f); v.Action != Accept || !strings.Contains(string(v.Header), "X-Told: 192.0.2.1 nil helo.example  a@d.example,b@d.example k3m9x2q7w4te nil hello") {
		t.Errorf("%+v %s", v, v.Header)
	}
	if v := ask(t, message(gtube), f); v.Action != Reject || v.Reply.Error() != "554 5.7.1 Gtube pattern" {
		t.Errorf("%+v", v)
	}
	if v := ask(t, message("Subject: maybe\r\n\r\n"), f); v.Action != Accept || !strings.Contains(string(v.Header), "X-Spam: Yes\r\n") {
		t.Errorf("%+v %s", v, v.Header)
	}
	if v := ask(t, message(gtube), open("careful")); v.Action != Hold || !strings.HasPrefix(v.Reason, "filter rspamd: ") {
		t.Errorf("%+v", v)
	}
	if s := f.Status(); s.Failed != 0 || s.Answers["accept"] != 3 || s.Answers["reject"] != 1 {
		t.Errorf("%+v", s)
	}
}
