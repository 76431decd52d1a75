// Command runc-without-sys-resource is a container runtime for hosts whose
// root lacks CAP_SYS_RESOURCE: it takes that one capability out of what a
// container asks for, then becomes runc.
//
// Docker writes the full list into the OCI configuration of a privileged
// container, and runc refuses to start one whose capabilities the host cannot
// give ("unable to apply caps: operation not permitted"). A kind node is such
// a container, and does not need this capability.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const missing = "CAP_SYS_RESOURCE"

func main() {
	for i, argument := range os.Args {
		flag, value, joined := strings.Cut(argument, "=")
		if !joined && i+1 < len(os.Args) {
			value = os.Args[i+1]
		}
		var err error
		switch flag {
		case "--bundle", "-b": // runc create, run
			err = edit(filepath.Join(value, "config.json"), "process", "capabilities")
		case "--process", "-p": // runc exec
			err = edit(value, "capabilities")
		}
		if err != nil {
			fail(err)
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		fail(err)
	}
	fail(syscall.Exec(runc, append([]string{"runc"}, os.Args[1:]...), os.Environ()))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "runc-without-sys-resource:", err)
	os.Exit(1)
}

// edit takes the capability out of the lists that are found at the path of
// keys. It writes in place: containerd holds the file that it handed over.
func edit(file string, keys ...string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var document map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber() // limits exceed what a float64 holds exactly
	if err := decoder.Decode(&document); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	object := document
	for _, key := range keys {
		inner, ok := object[key].(map[string]any)
		if !ok {
			return nil // asks for no capabilities
		}
		object = inner
	}
	for set, list := range object {
		capabilities, _ := list.([]any)
		kept := make([]any, 0, len(capabilities))
		for _, capability := range capabilities {
			if capability != missing {
				kept = append(kept, capability)
			}
		}
		object[set] = kept
	}
	edited, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return os.WriteFile(file, edited, 0o600)
}
