package primary

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Control obeys lines of text, one answer line each, until r ends: the way in
// which a parent process directs a server in a child process.
//
//	play NAME[=PARAMETER]   ok NAME=PARAMETER
//	received                ok NUMBER of messages in the record
//	addresses               ok 127.0.0.2:40001 127.0.0.3:40001
//
// What cannot be done is answered "error", a space and why.
func (s *Server) Control(r io.Reader, w io.Writer) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		answer, err := s.obey(lines.Text())
		if err != nil {
			answer = "error " + strings.ReplaceAll(err.Error(), "\n", "; ")
		} else {
			answer = strings.TrimSpace("ok " + answer)
		}
		if _, err := fmt.Fprintln(w, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (s *Server) obey(line string) (string, error) {
	verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch verb {
	case "play":
		scenario, err := Named(arg)
		if err != nil {
			return "", err
		}
		return scenario.Name, s.Play(scenario)
	case "received":
		return fmt.Sprint(len(s.Received())), nil
	case "addresses":
		return strings.Trim(fmt.Sprint(s.Addrs()), "[]"), nil
	}
	return "", fmt.Errorf("no command %q; there are play, received, addresses", verb)
}
