package simulate_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/internal/sandbox/simulate"
)

func TestMemoryRedisUnpacks(t *testing.T) {
	t.Parallel()
	r, err := simulate.NewMemoryRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	rdb := redis.NewClient(&redis.Options{Addr: r.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	script := redis.NewScript(`local a, b, n = struct.unpack('<ddH', ARGV[1], 2)
return string.format('%.6f %.0f %d', a, b, n)`)
	ctx := testContext(t)
	if err := script.Load(ctx, rdb).Err(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		a, b float64
		n    uint16
	}{
		{0, 1, 0},
		{-0.25, 9_007_199_254_740_991, 65535},
		{1.5, -9_000_000_000_000_000, 258},
		{123456.789012, 1_795_377_901_378, 1},
	} {
		packed := []byte{'x'}
		packed = binary.LittleEndian.AppendUint64(packed, math.Float64bits(tt.a))
		packed = binary.LittleEndian.AppendUint64(packed, math.Float64bits(tt.b))
		packed = binary.LittleEndian.AppendUint16(packed, tt.n)
		got, err := script.EvalSha(ctx, rdb, nil, packed).Text()
		if want := fmt.Sprintf("%.6f %.0f %d", tt.a, tt.b, tt.n); err != nil || got != want {
			t.Errorf("got %s %v, want %s", got, err, want)
		}
	}
}
