package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mxkeep/mxkeep/relay/auth/arc"
	"github.com/spf13/cobra"
)

// keygen is one run of "auth keygen".
type keygen struct {
	app                         *app
	algorithm, domain, selector string
	bits                        int
}

func newAuthKeygen(a *app) *cobra.Command {
	r := &keygen{app: a}
	cmd := &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a key for ARC seals, and print its DNS record",
		Long: "Makes a key in a new file that only its owner may read (PKCS #8, mode 0600), and prints the TXT record of its public half, " +
			"as a line of a zone file; a panel in the web wants the strings joined. A file that is there is never written over." +
			"\n\nRSA is understood everywhere. Ed25519 is many times faster, but few verify it so far.",
		Example: "  mxkeep auth keygen /etc/mxkeep/arc.pem --domain corp.example --selector arc1\n" +
			"  mxkeep auth keygen k.pem --domain corp.example --selector arc2 --bits 3072",
		Args: exactly("the file to make"),
		RunE: func(_ *cobra.Command, args []string) error { return r.run(args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&r.domain, "domain", "", "the domain that seals")
	f.StringVar(&r.selector, "selector", "", "the name of the key in the DNS")
	f.StringVar(&r.algorithm, "algorithm", "rsa", "rsa or ed25519")
	f.IntVar(&r.bits, "bits", 2048, "of an RSA key: 1024 to 4096")
	return cmd
}

// madeKey is the document of "auth keygen".
type madeKey struct {
	Schema    string   `json:"schema"`
	File      string   `json:"file"`
	Algorithm string   `json:"algorithm"`
	Name      string   `json:"name"`    // of the TXT record
	Strings   []string `json:"strings"` // of its text, each at most 255 octets
	Text      string   `json:"text"`    // joined
}

func (r *keygen) run(file string) error {
	if r.app.flags.dryRun {
		return usage("auth keygen has no --dry-run")
	}
	key, err := r.make()
	if err != nil {
		return err
	}
	text := key.Record()
	if err := writeSecret(file, key.PEM()); err != nil {
		return err
	}
	made := madeKey{"mxkeep.auth.key/1", file, key.Algorithm(), strings.ToLower(r.selector + "._domainkey." + r.domain), split255(text), text}
	r.app.words("The key is in %s. When its record is in the DNS, name it in auth.arc: mxkeep help arc", file)
	return r.app.document(made, func(w io.Writer) {
		fmt.Fprintf(w, "%s. IN TXT (\n", clean(made.Name))
		for _, s := range made.Strings {
			fmt.Fprintf(w, "  \"%s\"\n", s)
		}
		fmt.Fprintln(w, ")")
	})
}

// make makes the key, when it is clear what it is for.
func (r *keygen) make() (*arc.Key, error) {
	algorithms := map[string]string{"rsa": arc.RSA, "ed25519": arc.Ed25519}
	algorithm, ok := algorithms[r.algorithm]
	switch {
	case r.domain == "":
		return nil, usage("give --domain, the one that seals")
	case r.selector == "":
		return nil, usage("give --selector, a name for the key, like arc1")
	case !ok:
		return nil, usage("--algorithm %s: give rsa or ed25519", quote(r.algorithm))
	}
	key, err := arc.NewKey(algorithm, r.bits)
	if err != nil {
		return nil, usage("--bits: %v", err)
	}
	if _, err := arc.NewSealer(key, r.domain, r.selector, nil); err != nil {
		return nil, usage("%v", err)
	}
	return key, nil
}

// writeSecret makes a file that nobody else may read. It takes no file's place.
func writeSecret(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return failure{"key_exists", name + " exists"}
	case err != nil:
		return failure{"key_unwritten", err.Error()}
	}
	return fill(f, text)
}

// fill writes a new file, safe on the disk, or leaves none.
func fill(f *os.File, text []byte) error {
	_, err := f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close(), syncFolder(filepath.Dir(f.Name()))); err != nil {
		return failure{"key_unwritten", errors.Join(err, os.Remove(f.Name())).Error()}
	}
	return nil
}

// split255 cuts a text into the strings of a TXT record.
func split255(text string) []string {
	var all []string
	for len(text) > 255 {
		all, text = append(all, text[:255]), text[255:]
	}
	return append(all, text)
}
