package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
)

//go:embed report.html
var htmlText string

// htmlPage is what the template sees.
type htmlPage struct {
	page
	Charts map[string]chart
}

// HTML writes a report as one file that needs nothing else: no script, and
// nothing from outside. It is pure.
func HTML(r Report, a Audience) ([]byte, error) {
	t, err := template.New("report").Funcs(template.FuncMap{"line": line}).Parse(htmlText)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	var b bytes.Buffer
	err = t.Execute(&b, htmlPage{pageOf(r, a), charts(r)})
	return b.Bytes(), err
}
