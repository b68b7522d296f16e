package machine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// answerLimit bounds QEMU's answer: a snapshot writes all of the memory.
const answerLimit = 2 * time.Minute

// maxLine bounds one message of QEMU's, in bytes.
const maxLine = 1 << 20

// qmp commands a running QEMU (QEMU Machine Protocol). It is used by one at a time.
type qmp struct {
	conn  net.Conn
	lines *bufio.Scanner
}

func newQMP(conn net.Conn) *qmp {
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxLine)
	return &qmp{conn, lines}
}

func (q *qmp) close() { q.conn.Close() }

// greet reads the greeting and takes the command.
func (q *qmp) greet(ctx context.Context) error {
	_, err := q.do(ctx, "qmp_capabilities")
	return err
}

// message is one of QEMU's: a greeting, an event or an answer.
type message struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// do runs a command and returns its answer. What else QEMU tells is skipped.
func (q *qmp) do(ctx context.Context, command string, args ...map[string]string) ([]byte, error) {
	deadline := time.Now().Add(answerLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := q.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	request := map[string]any{"execute": command}
	if len(args) > 0 {
		request["arguments"] = args[0]
	}
	if err := json.NewEncoder(q.conn).Encode(request); err != nil {
		return nil, fmt.Errorf("command %s: %w", command, err)
	}
	for q.lines.Scan() {
		var m message
		if err := json.Unmarshal(q.lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("command %s: %w", command, err)
		}
		switch {
		case m.Error != nil:
			return nil, fmt.Errorf("command %s: %s", command, m.Error.Desc)
		case m.Return != nil:
			return m.Return, nil
		}
	}
	return nil, fmt.Errorf("command %s: %w", command, errors.Join(errors.New("no answer"), q.lines.Err()))
}

// monitor runs a command of the monitor for people.
func (q *qmp) monitor(ctx context.Context, line string) (text string, err error) {
	raw, err := q.do(ctx, "human-monitor-command", map[string]string{"command-line": line})
	if err == nil {
		err = json.Unmarshal(raw, &text)
	}
	return text, err
}
