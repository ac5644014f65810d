package auth_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/auth"
)

// A request is compared with every token: 1000 are the most that a file may have.
func BenchmarkToken(b *testing.B) {
	secret, line, err := auth.NewToken("last", auth.Read)
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{10, 1000} {
		var file strings.Builder
		for i := range n - 1 {
			fmt.Fprintf(&file, "t%d read sha256:%064x\n", i, i)
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			tokens := b.TempDir() + "/tokens"
			write(b, tokens, file.String()+line)
			gate, err := auth.Load(auth.Options{Tokens: tokens, Rate: 1 << 30, Now: time.Now})
			if err != nil {
				b.Fatal(err)
			}
			header := []string{"Bearer " + secret}
			for b.Loop() {
				if _, err := gate.Token(header); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
