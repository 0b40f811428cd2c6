package archive_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/mxkeep/mxkeep/queue/archive"
)

// goOn writes what is missing behind a torn archive, as the command does.
func goOn(t *testing.T, torn []byte, sizes []int) (whole []byte, again int) {
	t.Helper()
	p, err := archive.ReadPartial(bytes.NewReader(torn))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	out.Write(torn[:min(p.End, int64(len(torn)))])
	out.Write(make([]byte, max(0, p.End-int64(len(torn))))) // of the last block
	w := p.Writer(&out)
	if p.End == 0 {
		if w, err = archive.NewWriter(&out, head()); err != nil {
			t.Fatal(err)
		}
	} else if p.Head.Host != head().Host {
		t.Errorf("head %+v", p.Head)
	}
	for n, size := range sizes {
		e, content := letter(n, size)
		if slices.Contains(p.IDs, e.ID) {
			continue
		}
		again++
		if err := w.Add(e, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.Close(began); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), again
}

// TestGoOnFromAnywhere: wherever it was interrupted, the whole is the same in
// the end, and what was whole is not written again.
func TestGoOnFromAnywhere(t *testing.T) {
	sizes := []int{0, 600, 20, 1024}
	want := written(t, sizes...)
	most := len(sizes)
	for size := 0; size <= len(want); size++ {
		if size%512 > 2 { // what matters are the ends of blocks
			size += 123
		}
		size = min(size, len(want))
		got, again := goOn(t, want[:size], sizes)
		if !bytes.Equal(got, want) {
			t.Fatalf("interrupted at %d: another archive", size)
		}
		if again > most {
			t.Fatalf("interrupted at %d: %d messages again, before it were %d", size, again, most)
		}
		most = again
	}
	if most != 0 {
		t.Errorf("%d messages were written again behind a whole archive", most)
	}
}

// TestGoOnBehindADamagedTail: what a power cut leaves may be zeros.
func TestGoOnBehindADamagedTail(t *testing.T) {
	sizes := []int{100, 600, 20}
	want := written(t, sizes...)
	for at := 4096; at+512 < len(want); at += 512 {
		torn := slices.Clone(want)
		clear(torn[at:min(at+512, len(torn))])
		if got, _ := goOn(t, torn, sizes); !bytes.Equal(got, want) {
			t.Errorf("block at %d: another archive", at)
		}
	}
}

func TestWhatCannotBeGoneOnWith(t *testing.T) {
	for rule, text := range map[string][]byte{"another file": bytes.Repeat([]byte("hello\n"), 500), "another tar": pack(t, []entry{{name: "x", text: []byte("x"), kind: '0'}})} {
		if _, err := archive.ReadPartial(bytes.NewReader(text)); !errors.Is(err, archive.ErrArchive) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	broken := errors.New("broken")
	text := written(t, 600)
	for _, size := range []int{0, 700, 3000} {
		if _, err := archive.ReadPartial(failing{bytes.NewReader(text[:size]), broken}); !errors.Is(err, broken) {
			t.Errorf("at %d: %v", size, err)
		}
	}
}
