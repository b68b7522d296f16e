package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"slipstream/testrig/stand"
)

// sceneCommand is started by tests that need a publisher which can be killed.
func sceneCommand() *cobra.Command {
	scene := stand.Scene{Rate: 100, GOP: 10, Bytes: 2500}
	cmd := &cobra.Command{
		Use:    "scene",
		Short:  "Publish a made stream to SLIPSTREAM_PUBLISH",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			socket := os.Getenv("SLIPSTREAM_PUBLISH")
			if socket == "" {
				return errors.New("SLIPSTREAM_PUBLISH is not set")
			}
			return scene.Play(cmd.Context(), socket)
		},
	}
	cmd.Flags().StringVar(&scene.Version, "version", "1.0", "version in the stamps")
	return cmd
}
