package configs

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

func (r *Recipients) fields() []field {
	l, c, d := &r.Learned, &r.CallAhead, &r.Directory
	return []field{
		list("sources", &r.Sources, text("a source", SourceList), recipientSource),
		file("file", &r.File),
		duration("max_age", &r.MaxAge, 0, 3650*day),
		choice("not_known", &r.NotKnown, NotKnownAccept, NotKnownDefer, NotKnownReject),
		scalar("subaddress", &r.Subaddress, text("what begins a tag", `"+"`), optional(tagDelimiter)),
		section("learned",
			duration("keep", &l.Keep, time.Hour, 3650*day),
			duration("refused", &l.Refused, time.Minute, 7*day),
			number("max", &l.Max, 100, large)),
		section("call_ahead",
			duration("timeout", &c.Timeout, moment, time.Minute),
			number("at_once", &c.AtOnce, 1, 100),
			number("per_minute", &c.PerMinute, 1, 100000)),
		section("directory",
			scalar("tenant", &d.Tenant, text("the id or a domain of the tenant", "corp.onmicrosoft.com"), optional(graphID)),
			scalar("client", &d.Client, text("the id of the application", "00001111-aaaa-2222-bbbb-3333cccc4444"), optional(graphID)),
			file("secret", &d.Secret),
			file("certificate", &d.Certificate),
			file("key", &d.Key),
			scalar("login", &d.Login, text("a URL", "https://login.microsoftonline.com"), cloudURL),
			scalar("graph", &d.Graph, text("a URL", "https://graph.microsoft.com"), cloudURL),
			duration("every", &d.Every, time.Minute, 7*day),
			fraction("jitter", &d.Jitter, 0, 0.9),
			duration("max_age", &d.MaxAge, time.Hour, 3650*day),
			fraction("shrink", &d.Shrink, 0, 1)),
	}
}

func recipientSource(s string) verdict {
	all := []string{SourceList, SourceLearned, SourceCallAhead, SourceDirectory}
	if slices.Contains(all, s) {
		return verdict{}
	}
	return verdict{fmt.Sprintf("%q is not one of %s", s, strings.Join(all, ", ")), "Take " + meant(s, all, "one of them")}
}

// tagDelimiter: one sign that may stand in a local part, and is none of those
// that names are made of.
func tagDelimiter(s string) verdict {
	if len(s) == 1 && strings.Contains("!#$%&'*+-/=?^_`{|}~", s) {
		return verdict{}
	}
	return verdict{fmt.Sprintf("%q is no sign that begins a tag", s), `Write "+", or "" if there are no sub-addresses`}
}

// graphID is a UUID or a domain name.
func graphID(s string) verdict {
	if isASCII(s) && isDomain(s) {
		return verdict{}
	}
	return verdict{fmt.Sprintf("%q is no id", s), "Copy it from the registration of the application"}
}

// cloudURL is that of a cloud of Microsoft: secrets are sent there.
func cloudURL(s string) verdict {
	at, err := url.Parse(s)
	if err != nil || at.Scheme != "https" || at.Host == "" || s != "https://"+at.Host {
		return verdict{fmt.Sprintf("%q is not https:// and a host", s), "Write it like https://graph.microsoft.com"}
	}
	return verdict{}
}

// checkRecipients finds sources without what they need, and settings without a source.
func checkRecipients(r Recipients, say report, path string) {
	d, used := r.Directory, r.Used()
	for i, s := range used {
		if slices.Contains(used[:i], s) {
			say(fmt.Sprintf("%s.sources[%d]", path, i), s+" is in the list already", "Keep one of the two")
		}
	}
	if r.File != "" && !slices.Contains(used, SourceList) {
		say(path+".file", "it has no use, because list is not among the sources", "Write list below sources, or take it out")
	}
	if !slices.Contains(used, SourceDirectory) {
		for _, v := range []struct{ key, value string }{{"tenant", d.Tenant}, {"client", d.Client}, {"secret", d.Secret}, {"certificate", d.Certificate}, {"key", d.Key}} {
			if v.value != "" {
				say(path+".directory."+v.key, "it has no use, because directory is not among the sources", "Write directory below sources, or take it out")
			}
		}
		return
	}
	path += ".directory"
	for _, v := range []struct{ key, value, next string }{
		{"tenant", d.Tenant, "Write tenant: and the id of the tenant"},
		{"client", d.Client, "Write client: and the id of the application that may read its directory"},
	} {
		if v.value == "" {
			say(path+"."+v.key, "it is missing", v.next)
		}
	}
	checkPair(d.Certificate, d.Key, say, path)
	switch {
	case d.Secret == "" && d.Certificate == "" && d.Key == "":
		say(path+".secret", "there is no secret, and no certificate", "Write secret: and the file of the client secret, or certificate: and key:")
	case d.Secret != "" && d.Certificate != "":
		say(path+".secret", "there is a certificate as well", "Keep one of the two")
	}
}
