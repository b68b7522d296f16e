package core

import (
	"reflect"
	"testing"
)

// What outlives the process must be plain data: a pointer in it would be another
// process's.
func TestSharedMemoryIsPlainData(t *testing.T) {
	plain(t, reflect.TypeFor[lineMemory]())
	plain(t, reflect.TypeFor[ledger]())
}

func plain(t *testing.T, of reflect.Type) {
	t.Helper()
	switch of.Kind() {
	case reflect.Struct:
		for f := range of.Fields() {
			plain(t, f.Type)
		}
	case reflect.Array:
		plain(t, of.Elem())
	case reflect.Bool, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8,
		reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
	default:
		t.Errorf("%v in memory that outlives the process", of)
	}
}

func TestMemoryIsFoundAgain(t *testing.T) {
	m, err := newMemory[ledger]("test")
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.data.lines = 7
	if _, err := openMemory[lineMemory](m.fd); err == nil {
		t.Error("a memory of another size was mapped")
	}
	again, err := openMemory[ledger](m.fd)
	if err != nil {
		t.Fatal(err)
	}
	if again.data.lines != 7 {
		t.Error("what was written is not there")
	}
}
