package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// maxAnswers bounds the memory of the payment service. It must forget none, so
// beyond that it stops.
const maxAnswers = 200_000

var errFull = errors.New("as many recharges are answered as the simulation remembers: use another data directory")

// memory is what the payment service must not forget, in a file. It is safe for
// concurrent use.
type memory struct {
	file string

	mu    sync.Mutex
	state memoryState
}

type memoryState struct {
	Positions map[int]int64     `json:"positions"` // next offset, by partition
	Answers   map[string]answer `json:"answers"`   // by recharge id
}

func recall(file string) (*memory, error) {
	m := &memory{file: file, state: memoryState{Positions: map[int]int64{}, Answers: map[string]answer{}}}
	b, err := os.ReadFile(file) //nolint:gosec // the file that we were told to use
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("recall payments: %w", err)
	}
	if err := json.Unmarshal(b, &m.state); err != nil {
		return nil, fmt.Errorf("recall payments from %s: %w", file, err)
	}
	return m, nil
}

func (m *memory) position(partition int) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Positions[partition]
}

// pass moves the position of a partition.
func (m *memory) pass(partition int, next int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Positions[partition] = next
	return m.keep()
}

// decide returns the answer to a recharge: the one that was given before, else
// what first returns, which is then on disk.
func (m *memory) decide(id string, first func() answer) (a answer, repeated bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, repeated = m.state.Answers[id]; repeated {
		return a, true, nil
	}
	if len(m.state.Answers) >= maxAnswers {
		return answer{}, false, errFull
	}
	a = first()
	m.state.Answers[id] = a
	return a, false, m.keep()
}

// keep replaces the file as a whole.
func (m *memory) keep() error {
	b, err := json.MarshalIndent(m.state, "", " ")
	if err != nil {
		return fmt.Errorf("encode payments: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(m.file), filepath.Base(m.file)+".*")
	if err != nil {
		return fmt.Errorf("keep payments: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), m.file)
	}
	if err != nil {
		return fmt.Errorf("keep payments: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
