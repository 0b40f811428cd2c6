package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressLines(t *testing.T) {
	a := &app{screen: screen{out: true, width: 80, utf8: true}, errs: &bytes.Buffer{}}
	for _, test := range []struct {
		whole, messages, bytes, done int64
		after                        time.Duration
		want                         string
	}{
		{827 << 20, 5724, 587 << 20, 4062, 30 * time.Second, "[##############······]  71%   4,062 / 5,724 messages   587 MiB   12s left"},
		{827 << 20, 5724, 0, 0, 0, "[····················]   0%   0 / 5,724 messages   0 B"},
		{1000, 0, 2000, 0, time.Second, "[####################] 100%   2.0 KiB"},
		{0, 0, 5000, 7, time.Second, "7 messages   4.9 KiB"},
		{0, 0, 5000, 0, time.Second, "4.9 KiB"},
	} {
		if got := a.progress(test.whole, test.messages).line(test.bytes, test.done, test.after); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
	a.screen.utf8 = false
	if got := a.progress(10, 0).line(1, 0, 0); !strings.HasPrefix(got, "[##..................]  10%") {
		t.Errorf("%q", got)
	}
}

func TestABarIsDrawnAndTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs bytes.Buffer
		a := &app{screen: screen{out: true, width: 30, utf8: true}, errs: &errs}
		bar := a.progress(1000, 0)
		for n := range int64(10) {
			bar.step(n*100, 0)
			time.Sleep(progressEvery / 4)
		}
		bar.end()
		if drawn := strings.Count(errs.String(), "%"); drawn < 1 || drawn > 4 || !strings.HasSuffix(errs.String(), "\r\x1b[K") {
			t.Errorf("%q", errs.String())
		}
		errs.Reset()
		a.screen.out = false
		bar = a.progress(1000, 0)
		bar.step(1, 1)
		bar.end()
		if errs.Len() > 0 {
			t.Errorf("%q", errs.String())
		}
	})
}
