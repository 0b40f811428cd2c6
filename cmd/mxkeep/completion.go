package main

import (
	"io"

	"github.com/spf13/cobra"
)

// shells are those that a completion script can be written for.
var shells = []struct {
	name  string
	write func(root *cobra.Command, w io.Writer) error
}{
	{"bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) }},
	{"zsh", func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) }},
	{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }},
	{"powershell", func(root *cobra.Command, w io.Writer) error { return root.GenPowerShellCompletionWithDesc(w) }},
}

func newCompletion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Write the script that lets a shell complete commands and flags",
		Example: "  mxkeep completion bash > /etc/bash_completion.d/mxkeep\n" +
			"  mxkeep completion zsh > \"${fpath[1]}/_mxkeep\"\n" +
			"  mxkeep completion fish > ~/.config/fish/completions/mxkeep.fish\n" +
			"  mxkeep completion powershell >> $PROFILE",
		Args: exactly("a shell: bash, zsh, fish or powershell", "bash", "zsh", "fish", "powershell"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, shell := range shells {
				if shell.name == args[0] {
					return shell.write(cmd.Root(), a.out)
				}
			}
			return nil // cobra let only those through
		},
	}
	for _, shell := range shells {
		cmd.ValidArgs = append(cmd.ValidArgs, shell.name)
	}
	return cmd
}
