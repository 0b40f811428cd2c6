package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// versionDocument says what this binary is.
type versionDocument struct {
	Schema   string `json:"schema"`
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "What this binary is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionDocument{"mxkeep.version/1", version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return a.document(v, func(w io.Writer) { fmt.Fprintf(w, "mxkeep %s  %s  %s\n", v.Version, v.Go, v.Platform) })
		},
	}
}
