package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// The exit codes. New ones may come: an unknown one is a failure.
const (
	exitFailed      = 1
	exitUsage       = 2 // wrong usage, or refused for safety
	exitPartly      = 3
	exitUnreachable = 4
	exitNotFound    = 5
	exitTimeout     = 6
	exitDisk        = 74 // EX_IOERR
	exitConfig      = 78
	exitInterrupted = 130
)

// problem is a row of the table of errors.
type problem struct {
	number, code string
	exit         int
	hint         string // the next step
}

// problems is every error of the command line. Numbers are never given twice.
var problems = []problem{
	{"E1001", "failed", exitFailed, "The log of the service may say more: journalctl -u mxkeep"},
	{"E1002", "interrupted", exitInterrupted, "What was changed before is in the ledger: mxkeep trace ID"},
	{"E1003", "timeout", exitTimeout, "Give it more time with --timeout"},
	{"E1101", "usage", exitUsage, "See the flags and examples: add --help"},
	{"E1102", admin.CodeNoSelection, exitUsage, "Choose with --from, --to, --state, ... or give ids; for everything say --all"},
	{"E1103", admin.CodeBadFilter, exitUsage, "See the filters and examples: mxkeep queue list --help"},
	{"E1104", admin.CodeBadRequest, exitUsage, "See the flags and examples: add --help"},
	{"E1105", admin.CodeCountChanged, exitUsage, "Look again with --dry-run, then repeat with the new number"},
	{"E1106", admin.CodeReasonRequired, exitUsage, `Say why, for the ledger: --reason "..."`},
	{"E1107", admin.CodeCountRequired, exitUsage, "Look with --dry-run, then say --confirm=N with the number of messages"},
	{"E1108", "confirmation_required", exitUsage, "Look with --dry-run, then repeat with --yes"},
	{"E1109", "not_confirmed", exitUsage, "Nothing was changed"},
	{"E1110", "old_habit", exitUsage, "The command was not run"},
	{"E1111", "file_exists", exitUsage, "Remove it, or name another file with -O"},
	{"E1112", "other_export", exitUsage, "Finish it with its own filters, or remove it and begin anew"},
	{"E1203", "daemon_unreachable", exitUnreachable, "Is the service running? systemctl status mxkeep. Is that its socket? --socket, --config"},
	{"E1204", "permission_denied", exitUnreachable, "The socket belongs to the service's user: sudo -u mxkeep mxkeep ..., or as root"},
	{"E1205", "answer_cut_off", exitFailed, "The relay may have stopped meanwhile: systemctl status mxkeep"},
	{"E1206", admin.CodeNotReady, exitFailed, "See what is wrong: mxkeep status"},
	{"E1301", "partly_done", exitPartly, "Some messages left, or changed, between looking and acting. Look again: mxkeep queue list"},
	{"E1302", "partly_exported", exitPartly, "They are listed above and in the manifest, and stay here: mxkeep help damage"},
	{"E1303", "partly_imported", exitPartly, "They are listed above; mend what they name and run it again, nothing is taken in twice"},
	{"E1401", admin.CodeNotFound, exitNotFound, "What left is forgotten after a while; the ledger lasts longer: mxkeep trace QUERY"},
	{"E1402", admin.CodeAmbiguous, exitUsage, "Give more letters of the id"},
	{"E1403", admin.CodeUnknownUpstream, exitUsage, "Name one with --upstream; mxkeep health show lists them"},
	{"E1404", admin.CodeContentGone, exitNotFound, "What became of it: mxkeep trace ID"},
	{"E1405", "nothing_matched", exitNotFound, "Look with fewer filters, or for another id, Message-ID or address"},
	{"E1406", admin.CodeNoFile, exitNotFound, "What is set aside: mxkeep db stats"},
	{"E1407", admin.CodeUnknownDomain, exitNotFound, "Name one that is configured, with such a source: mxkeep recipients list"},
	{"E1501", admin.CodeStoreFailed, exitFailed, "The store failed: see mxkeep status, and journalctl -u mxkeep"},
	{"E1502", admin.CodeContentDamaged, exitFailed, "The stored bytes differ from what was received, so it is not delivered: mxkeep queue show ID"},
	{"E1503", admin.CodeRefused, exitFailed, "The log of the service may say more: journalctl -u mxkeep"},
	{"E1504", "probe_failed", exitFailed, "See the dialogue: mxkeep health probe -v"},
	{"E1505", "damage_found", exitFailed, "What to do is in: mxkeep status"},
	{"E1506", admin.CodeBadArchive, exitFailed, "Is it a file of mxkeep queue export? Its first entry is archive.json: tar tf FILE"},
	{"E1507", "ledger_incomplete", exitFailed, "What is missing, and how to bring it back: mxkeep db stats, mxkeep help damage"},
	{"E1508", "head_not_found", exitFailed, "Lines that old may have been trimmed; else the ledger was changed: mxkeep help ledger"},
	{"E1601", admin.CodeBadDestination, exitUsage, "Name a folder that there is not yet, in one that there is, outside the data folder"},
	{"E1602", admin.CodeNoRoom, exitFailed, "Make room there, or choose another disk: df -h"},
	{"E1603", admin.CodeBackupBusy, exitFailed, "Wait for it, then try again"},
	{"E1604", admin.CodeBackupFailed, exitFailed, "Nothing was left there. See whether that disk is full or broken: df -h, dmesg"},
	{"E1605", "not_a_backup", exitFailed, "See what there is: mxkeep backup list, or mxkeep backup list DIR"},
	{"E1606", "backup_newer", exitFailed, "Use the version that made it, or a newer one"},
	{"E1607", "backup_damaged", exitFailed, "Do not rely on it: choose another (mxkeep backup list), or make one now"},
	{"E1608", "relay_running", exitUsage, "Stop it first: systemctl stop mxkeep"},
	{"E1701", admin.CodeBadList, exitFailed, "Nothing was changed. Mend the lines, or export again: mxkeep help recipients"},
	{"E1702", "sync_failed", exitFailed, "What was known before still holds. The log says more: journalctl -u mxkeep"},
	{"E1703", "sync_doubted", exitFailed, "What was known before still holds. If so many are really gone: mxkeep recipients sync --force"},
	{"E1801", "message_unreadable", exitFailed, "Name a file that this user may read, or - for standard input"},
	{"E1802", "bad_key", exitFailed, "Make one with mxkeep auth keygen; only its owner may read it: chmod 600 FILE"},
	{"E1803", "not_sealed", exitFailed, "See the chain: mxkeep auth verify FILE --client IP"},
	{"E1804", "key_exists", exitUsage, "Name another file: keys are never written over"},
	{"E1805", "key_unwritten", exitFailed, "Name a file in a folder that this user may write to"},
	{"E1901", admin.CodeIncidentState, exitFailed, "See how it stands: mxkeep incident show"},
	{"E1911", "not_a_bundle", exitFailed, "Is it the ZIP file of mxkeep incident report --format bundle?"},
	{"E1912", "bundle_damaged", exitFailed, "It was changed, or is not whole: ask for it again, and compare the fingerprint of its sums"},
	{"E1913", "bad_trace", exitFailed, "Export it again as CSV, with times, recipients and states: mxkeep help reports"},
	{"E1914", "not_reconciled", exitPartly, "Give the provider the session ids and numbers of the missing ones; the last 24 hours may not be in a trace yet"},
	{"E2101", "config_invalid", exitConfig, "Compare with: mxkeep config example"},
	{"E2201", "start_failed", exitFailed, "Mend what the message names and start it again; no mail was accepted or touched"},
	{"E2202", "port_in_use", exitFailed, "See who listens there: ss -ltnp; stop that, or change inbound.listen, http.listen or inbound.acme.listen"},
	{"E2203", "port_not_allowed", exitFailed, "Ports below 1024 need the capability CAP_NET_BIND_SERVICE, which the unit of mxkeep config example systemd gives; or choose a higher port"},
	{"E2204", "address_not_ours", exitFailed, "Choose an address of this machine in inbound.listen and http.listen: ip -brief address"},
	{"E2205", "already_running", exitFailed, "Another relay has this data folder or this socket: systemctl status mxkeep"},
	{"E2206", codeDiskFailed, exitDisk, "See whether the disk is full or broken: df -h, dmesg. A start shows what was kept; senders try the rest again"},
	{"E2207", codeNewerFormat, exitConfig, "Nothing was touched. Start the version that wrote the files, or a newer one; to go back: mxkeep help upgrade"},
	{"E2208", "no_room_for_copy", exitFailed, "Nothing was changed: the version before can go on with the files. Make room, or let the queue drain: mxkeep help upgrade"},
	{"E2209", "root_refused", exitUsage, "Start it as a user of its own, as the unit of mxkeep config example systemd does; or write user: in the configuration, or say --allow-root"},
	{"E2301", "demo_failed", exitFailed, "The ends of the logs are above, if there are any; to keep everything: mxkeep demo --keep DIR"},
}

const (
	codeDiskFailed  = "disk_failed"
	codeNewerFormat = "newer_format"
)

// failure is an error that the command line itself raises, by its code.
type failure struct{ code, message string }

func (f failure) Error() string { return f.message }

func usage(format string, args ...any) error {
	return failure{"usage", fmt.Sprintf(format, args...)}
}

// exitCode ends a command without a word: it said what it had to say.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// codeOf finds the code of an error.
func (a *app) codeOf(err error) string {
	var own failure
	var refused *admin.Error
	var wrong configs.Problems
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded): // whatever the last answer was
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &refused):
		return refused.Code
	case errors.As(err, &wrong):
		return "config_invalid"
	case errors.Is(err, fs.ErrPermission) && errors.Is(err, admin.ErrUnreachable):
		return "permission_denied"
	case errors.Is(err, admin.ErrUnreachable):
		return "daemon_unreachable"
	case errors.Is(err, admin.ErrCutOff):
		return "answer_cut_off"
	case !a.began:
		return "usage"
	}
	return "failed"
}

// lookup finds a row of the table; a code that a newer relay made up fails like any other.
func lookup(code string) problem {
	for _, p := range problems {
		if p.code == code {
			return p
		}
	}
	return problem{problems[0].number, code, problems[0].exit, problems[0].hint}
}

// errorDocument is how an error looks with --json.
type errorDocument struct {
	Schema  string `json:"schema"`
	Code    string `json:"code"`
	Number  string `json:"number"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
	Docs    string `json:"docs"`
	Exit    int    `json:"exit"`
}

// report says what went wrong and what to do, and returns the exit code.
func (a *app) report(err error) int {
	var silent exitCode
	if errors.As(err, &silent) {
		return int(silent)
	}
	p := lookup(a.codeOf(err))
	if format, _ := a.format(); format == formatJSON || format == formatJSONL {
		line, _ := admin.Encode(errorDocument{admin.SchemaError, p.code, p.number, err.Error(), p.hint, "mxkeep help " + p.number, p.exit})
		_, _ = a.errs.Write(line)
		return p.exit
	}
	message := clean(strings.TrimRight(err.Error(), "\n"))
	var wrong configs.Problems
	if errors.As(err, &wrong) { // each on its own line
		message = "the configuration cannot be used"
		for _, w := range wrong {
			message += "\n" + clean(w.String())
		}
	}
	fmt.Fprintf(a.errs, "%s %s: %s\n%s\n", p.number, p.code, message, p.hint)
	return p.exit
}
