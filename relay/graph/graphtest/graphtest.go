// Package graphtest answers like Microsoft's token endpoint and Microsoft Graph,
// as far as a list of addresses and the health of a service go.
package graphtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Object is a user, group or contact.
type Object struct {
	Mail           string   `json:"mail,omitempty"`
	ProxyAddresses []string `json:"proxyAddresses"`
}

// Tenant is a tenant with an application that may read its directory. Its fields
// may be set while nobody asks, or within Set.
type Tenant struct {
	ID, Client  string
	Secret      string
	Certificate *x509.Certificate // of the application; nil: only the secret counts
	Users       []Object
	Groups      []Object
	Contacts    []Object
	PageSize    int    // default 2
	Health      string // JSON that every service's health is answered with

	mu     sync.Mutex
	before func(*http.Request) (status int, header http.Header, body string)
	tokens int
	asked  []string
}

// Set changes fields while others look at them.
func (t *Tenant) Set(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

// Before answers instead of the tenant, unless its status is 0.
func (t *Tenant) Before(do func(*http.Request) (status int, header http.Header, body string)) {
	t.Set(func() { t.before = do })
}

// Asked lists the paths of the requests so far.
func (t *Tenant) Asked() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.asked...)
}

// ServeHTTP answers both hosts.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = append(t.asked, r.URL.Path)
	if t.before != nil {
		if status, header, body := t.before(r); status != 0 {
			for key, values := range header {
				w.Header()[key] = values
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/"+t.ID+"/oauth2/v2.0/token":
		t.token(w, r)
	case r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", t.tokens):
		refuse(w, http.StatusUnauthorized, `{"error":{"code":"InvalidAuthenticationToken","message":"Access token has expired."}}`)
	case strings.HasPrefix(r.URL.Path, "/v1.0/admin/serviceAnnouncement/healthOverviews/"):
		fmt.Fprint(w, t.Health)
	case r.URL.Query().Get("$select") != "mail,proxyAddresses":
		refuse(w, http.StatusBadRequest, `{"error":{"code":"BadRequest","message":"select what?"}}`)
	default:
		objects, ok := map[string][]Object{"/v1.0/users": t.Users, "/v1.0/groups": t.Groups, "/v1.0/contacts": t.Contacts}[r.URL.Path]
		if !ok {
			refuse(w, http.StatusNotFound, `{"error":{"code":"ResourceNotFound","message":"no such resource"}}`)
			return
		}
		t.page(w, r, objects)
	}
}

func refuse(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

// page writes a page of objects, and where the next one is.
func (t *Tenant) page(w http.ResponseWriter, r *http.Request, objects []Object) {
	size := t.PageSize
	if size == 0 {
		size = 2
	}
	begin, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken")) // none is the first page
	begin = min(begin, len(objects))
	end := min(begin+size, len(objects))
	answer := map[string]any{"@odata.context": "https://" + r.Host + "/v1.0/$metadata", "value": append([]Object{}, objects[begin:end]...)}
	if end < len(objects) {
		answer["@odata.nextLink"] = fmt.Sprintf("https://%s%s?$select=mail,proxyAddresses&$skiptoken=%d", r.Host, r.URL.Path, end)
	}
	_ = json.NewEncoder(w).Encode(answer) // the client has gone if it fails
}

// token answers a request for a token: each is the only one that holds.
func (t *Tenant) token(w http.ResponseWriter, r *http.Request) {
	why := ""
	switch {
	case r.Method != http.MethodPost, r.FormValue("grant_type") != "client_credentials", !strings.HasSuffix(r.FormValue("scope"), "/.default"):
		why = "AADSTS900144: The request is malformed."
	case r.FormValue("client_id") != t.Client:
		why = "AADSTS700016: Application was not found in the directory."
	case r.FormValue("client_assertion") != "":
		why = t.assertion(r)
	case r.FormValue("client_secret") != t.Secret || t.Secret == "":
		why = "AADSTS7000215: Invalid client secret provided."
	}
	if why != "" {
		refuse(w, http.StatusUnauthorized, fmt.Sprintf(`{"error":"invalid_client","error_description":"%s\r\nTrace ID: 1"}`, why))
		return
	}
	t.tokens++
	fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"access_token":"token-%d"}`, t.tokens)
}

// assertion verifies a signed assertion, and says what is wrong with it.
func (t *Tenant) assertion(r *http.Request) string {
	parts := strings.Split(r.FormValue("client_assertion"), ".")
	var header struct {
		Alg   string `json:"alg"`
		Print string `json:"x5t#S256"`
	}
	var claims struct {
		Aud, Iss, Sub, Jti string
		Nbf, Exp           int64
	}
	if len(parts) != 3 || t.Certificate == nil || !unpack(parts[0], &header) || !unpack(parts[1], &claims) {
		return "AADSTS50027: JWT token is invalid or malformed."
	}
	sum := sha256.Sum256(t.Certificate.Raw)
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2]) // what is wrong does not verify
	signed := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	key, _ := t.Certificate.PublicKey.(*rsa.PublicKey)
	now := time.Now().Unix()
	switch {
	case header.Alg != "PS256" || header.Print != base64.RawURLEncoding.EncodeToString(sum[:]):
		return "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered."
	case claims.Aud != "https://"+r.Host+r.URL.Path || claims.Iss != t.Client || claims.Sub != t.Client || claims.Jti == "":
		return "AADSTS700023: Client assertion audience or issuer is wrong."
	case now < claims.Nbf || now >= claims.Exp:
		return "AADSTS700024: Client assertion is not within its valid time range."
	case rsa.VerifyPSS(key, crypto.SHA256, signed[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) != nil:
		return "AADSTS700027: Client assertion failed signature validation."
	}
	return ""
}

func unpack(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}
