package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// handlerAlone tells what the guard and its parts take without a network: the repository's own Go
// benchmarks, whose next handler does nothing.
func handlerAlone(ctx context.Context, s *settings) ([]row, error) {
	count, duration := "10", "300ms"
	if s.quick {
		count, duration = "1", "10ms"
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark(ServeHTTP|OpenAccess|OpenAccessRefusal|Rate)$",
		"-benchmem", "-count", count, "-benchtime", duration, ".", "./sessions", "./throttle")
	cmd.Dir, cmd.Stderr = "..", os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running the Go benchmarks: %w", err)
	}
	found, err := parseBenchmarks(out)
	if err != nil {
		return nil, err
	}
	bare := found["ServeHTTP/bare"]
	if bare == nil {
		return nil, fmt.Errorf("the Go benchmarks have no bare next handler")
	}
	var rows []row
	for _, of := range []struct {
		what, name string
		over       *benchmark
	}{
		{"a request that is let through, over the bare next handler", "ServeHTTP/guarded", bare},
		{"the same, issuer derived from the request", "ServeHTTP/guarded,_issuer_derived", bare},
		{"the check of its token", "OpenAccess", new(benchmark)},
		{"the check of a forged token", "OpenAccessRefusal", new(benchmark)},
		{"the count of a person's requests, of 10,000 people", "Rate", new(benchmark)},
	} {
		b := found[of.name]
		if b == nil {
			return nil, fmt.Errorf("the Go benchmarks do not have %s", of.name)
		}
		rows = append(rows, row{
			what:   of.what,
			value:  fmt.Sprintf("%.2f us, %.0f allocations, %.0f B", (b.nanos.median()-of.over.nanos.median())/1000, b.allocs-of.over.allocs, b.bytes-of.over.bytes),
			spread: fmt.Sprintf("%.2f-%.2f", b.nanos.quantile(0.25)/1000, b.nanos.quantile(0.75)/1000),
		})
	}
	return rows, nil
}

// benchmark is what several runs of one Go benchmark gave.
type benchmark struct {
	nanos         sample
	bytes, allocs float64
}

// parseBenchmarks reads lines such as "BenchmarkX-2   1000   1234 ns/op   56 B/op   7 allocs/op".
func parseBenchmarks(out []byte) (map[string]*benchmark, error) {
	found := make(map[string]*benchmark)
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if dash := strings.LastIndexByte(name, '-'); dash >= 0 {
			name = name[:dash]
		}
		var values [3]float64
		for i, field := range []string{fields[2], fields[4], fields[6]} {
			value, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return nil, fmt.Errorf("reading %q: %w", lines.Text(), err)
			}
			values[i] = value
		}
		b := found[name]
		if b == nil {
			b = new(benchmark)
			found[name] = b
		}
		b.nanos = append(b.nanos, values[0])
		b.bytes, b.allocs = values[1], values[2]
	}
	return found, nil
}
