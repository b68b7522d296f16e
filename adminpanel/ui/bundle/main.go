package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	if err := run("."); err != nil {
		log.Fatal(err)
	}
}

// run makes everything below the directory of package ui.
func run(ui string) error {
	if err := os.WriteFile(filepath.Join(ui, "src", "view.ts"), types(), 0o644); err != nil {
		return err
	}
	files, err := bundle(ui)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(ui, "dist", name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// bundle returns the files of dist by their names.
func bundle(ui string) (map[string][]byte, error) {
	if _, err := os.Stat(filepath.Join(ui, "node_modules", "preact")); err != nil {
		return nil, errors.New("the pages need what package.json names: run npm ci in adminpanel/ui")
	}
	dir, err := filepath.Abs(ui)
	if err != nil {
		return nil, err
	}
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: dir,
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: "src/main.tsx", OutputPath: "app"},
			{InputPath: "src/style/app.css", OutputPath: "style"},
		},
		Outdir:            filepath.Join(dir, "dist"),
		Bundle:            true,
		Format:            api.FormatESModule,
		Target:            api.ES2023,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		JSX:               api.JSXAutomatic,
		JSXImportSource:   "preact",
		LegalComments:     api.LegalCommentsNone,
		Charset:           api.CharsetUTF8,
	})
	if len(result.Errors) > 0 {
		return nil, errors.New(strings.Join(api.FormatMessages(result.Errors, api.FormatMessagesOptions{}), "\n"))
	}
	files := map[string][]byte{}
	for _, f := range result.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	for _, name := range []string{"index.html", "icon.svg"} {
		content, err := os.ReadFile(filepath.Join(ui, "src", name))
		if err != nil {
			return nil, fmt.Errorf("reading what is copied as it is: %w", err)
		}
		files[name] = content
	}
	return files, nil
}
