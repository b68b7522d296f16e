package slots

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	journalName = "progress"
	journalStep = 16 << 20    // bytes of image between two entries
	journalWait = time.Second // and time: what was written in less is soon written again
	maxJournal  = 64 << 10
)

// journal notes how far a stage has come, so that the next one of the same
// package reads that much of the slot again before it asks for chunks. Only
// time hangs on it: each of those chunks is hashed. It is a line with the
// package digest and then one line with a place for each entry; the last that
// is whole counts.
type journal struct {
	file  diskFile
	noted int64
	at    time.Time // of the newest entry, or of the beginning
}

// readJournal returns how far a stage of a package had come; 0 if the journal
// is another package's, or there is none.
func (s *Set) readJournal(name, digest string) int64 {
	raw, err := s.readFile(name+"/"+journalName, maxJournal)
	if err != nil {
		return 0
	}
	raw, ours := bytes.CutPrefix(raw, []byte(digest+"\n"))
	if !ours {
		return 0
	}
	var upTo int64
	for line := range bytes.Lines(raw) {
		line, whole := bytes.CutSuffix(line, []byte("\n"))
		if !whole {
			break // torn
		}
		if n, err := strconv.ParseInt(string(line), 16, 64); err == nil && n >= 0 {
			upTo = n
		}
	}
	return upTo
}

// openJournal goes on with the journal of a stage that had come up to from, or
// begins one.
func openJournal(slot disk, digest string, from int64) (*journal, error) {
	if from == 0 {
		if err := slot.Remove(journalName); err != nil {
			return nil, err
		}
	}
	file, err := slot.Log(journalName)
	if err != nil {
		return nil, err
	}
	first := "\n" // ends a line that a power cut has torn
	if from == 0 {
		first = digest + "\n"
	}
	if _, err := file.Write([]byte(first)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &journal{file: file, noted: from, at: time.Now()}, nil
}

// note writes an entry if it is time for one.
func (j *journal) note(upTo int64) error {
	if upTo < j.noted+journalStep || time.Since(j.at) < journalWait {
		return nil
	}
	return j.write(upTo)
}

func (j *journal) write(upTo int64) error {
	if upTo <= j.noted {
		return nil
	}
	_, err := fmt.Fprintf(j.file, "%x\n", upTo)
	j.noted, j.at = upTo, time.Now()
	return err
}
