package report

import (
	"fmt"
	"strings"
)

// markdown escapes what Markdown would take for more than text.
var markdown = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "&", `\&`, "|", `\|`, "#", `\#`, "~", `\~`)

// Markdown writes a report. It is pure.
func Markdown(r Report, a Audience) []byte {
	var b strings.Builder
	p := pageOf(r, a)
	fmt.Fprintf(&b, "# %s\n\n", markdown.Replace(line(p.Title)))
	for _, text := range p.Lead {
		fmt.Fprintf(&b, "%s\n\n", markdown.Replace(line(text)))
	}
	for _, s := range p.Sections {
		fmt.Fprintf(&b, "## %s\n\n", markdown.Replace(s.Title))
		for _, block := range s.Blocks {
			block.markdown(&b)
		}
	}
	return []byte(strings.TrimRight(b.String(), "\n") + "\n")
}

func (k block) markdown(b *strings.Builder) {
	switch {
	case k.Text != "":
		fmt.Fprintf(b, "%s\n\n", markdown.Replace(line(k.Text)))
	case k.List != nil:
		for _, item := range k.List {
			fmt.Fprintf(b, "- %s\n", markdown.Replace(line(item)))
		}
		b.WriteString("\n")
	case k.Rows != nil:
		head := k.Head
		if head == nil {
			head = []string{"", ""}
		}
		markdownRow(b, head)
		fmt.Fprintf(b, "|%s\n", strings.Repeat("---|", len(head)))
		for _, row := range k.Rows {
			markdownRow(b, row)
		}
		b.WriteString("\n")
	}
}

func markdownRow(b *strings.Builder, cells []string) {
	b.WriteString("|")
	for _, c := range cells {
		fmt.Fprintf(b, " %s |", markdown.Replace(line(c)))
	}
	b.WriteString("\n")
}
