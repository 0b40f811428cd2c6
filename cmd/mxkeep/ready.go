package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// readyEvery is how often a waiting "ready" asks.
const readyEvery = 200 * time.Millisecond

func newReady(a *app) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Exit with 0 when mail is accepted, for health checks and scripts",
		Long:  "Exit with 0 when mail is accepted. A primary that is down does not make the relay unready: it is why there is one.",
		Example: "  mxkeep ready\n" +
			"  mxkeep ready --wait --timeout 30s",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.ready(cmd.Context(), wait); err != nil {
				return err
			}
			return a.document(admin.Ready{Schema: admin.SchemaReady, Ready: true}, func(w io.Writer) { fmt.Fprintln(w, "ready") })
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is, at most the time of --timeout")
	return cmd
}

// ready asks whether mail is accepted; with wait, until it is or ctx ends.
func (a *app) ready(ctx context.Context, wait bool) error {
	client := a.client()
	return repeat(ctx, readyEvery, func() (bool, error) {
		err := client.Ready(ctx)
		return err == nil || !wait, err
	})
}
