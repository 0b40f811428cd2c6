package graph

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A token is changed before it ends; while none is to be had, the old one goes on.
func TestAnOldTokenIsBetterThanNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := tenant()
		g, client := inProcess(t, server)
		one := &Client{App: g, HTTP: client}
		logins := func() (n int) {
			for _, path := range server.Asked() {
				if strings.HasSuffix(path, "/token") {
					n++
				}
			}
			return n
		}
		get := func(rule string, want int) {
			t.Helper()
			if _, err := one.Get(t.Context(), users); err != nil || logins() != want {
				t.Errorf("%s: %d logins, want %d, %v", rule, logins(), want, err)
			}
		}
		get("the first", 1)
		time.Sleep(29 * time.Minute)
		get("it is young", 1)
		time.Sleep(time.Minute)
		get("it is half its life old", 2)
		time.Sleep(45 * time.Minute)
		server.Before(func(r *http.Request) (int, http.Header, string) {
			if strings.HasSuffix(r.URL.Path, "/token") {
				return 503, nil, ""
			}
			return 0, nil, ""
		})
		get("no other is to be had", 3)
		time.Sleep(10 * time.Hour)
		get("it counts as long as Graph takes it", 4)
		one.token = "refused"
		if _, err := one.Get(t.Context(), users); err == nil || !strings.Contains(err.Error(), "the token endpoint answers 503") {
			t.Errorf("it is refused: %v", err)
		}
	})
}

// A login that hangs takes no more than some seconds of the time there is.
func TestAHangingLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := tenant()
		g, client := inProcess(t, server)
		one := &Client{App: g, HTTP: client}
		if _, err := one.Get(t.Context(), users); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		through := client.Transport
		client.Transport = hanging{through}
		began := time.Now()
		if _, err := one.Get(t.Context(), users); err != nil || time.Since(began) != refreshTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// hanging answers everything but logins.
type hanging struct{ http.RoundTripper }

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return h.RoundTripper.RoundTrip(r)
}

// What cannot be asked, or is not worth to be asked again.
func TestWhatIsNoAnswer(t *testing.T) {
	server := tenant()
	g, client := inProcess(t, server)
	one := &Client{App: g, HTTP: client}
	if _, err := one.Get(t.Context(), "https://%zz"); err == nil || !strings.Contains(err.Error(), "invalid URL escape") {
		t.Errorf("no URL: %v", err)
	}
	if _, err := one.Get(t.Context(), "https://graph.example/v1.0/none?$select=mail,proxyAddresses"); err == nil || !strings.Contains(err.Error(), "Graph answers 404 ResourceNotFound") {
		t.Errorf("not there: %v", err)
	}
	server.Before(func(*http.Request) (int, http.Header, string) { return 200, nil, "{}" })
	if _, err := (&Client{App: g, HTTP: client}).Get(t.Context(), users); err == nil || !strings.Contains(err.Error(), "without a token") {
		t.Errorf("no token: %v", err)
	}
}

// A pause that a server asks for ends, and the next try is answered.
func TestAPauseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := tenant()
		g, client := inProcess(t, server)
		one := &Client{App: g, HTTP: client}
		busy := true
		server.Before(func(r *http.Request) (int, http.Header, string) {
			if strings.HasSuffix(r.URL.Path, "/users") && busy {
				busy = false
				return 429, http.Header{"Retry-After": {"7"}}, ""
			}
			return 0, nil, ""
		})
		began := time.Now()
		if _, err := one.Get(t.Context(), users); err != nil || time.Since(began) != 7*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
