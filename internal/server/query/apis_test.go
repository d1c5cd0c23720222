package query

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAPIsServeAnyWorkspace: one that is free serves whoever comes next, and sees
// that one's storage only.
func TestAPIsServeAnyWorkspace(t *testing.T) {
	scripts := map[string]string{}
	for i := range 20 {
		scripts[fmt.Sprintf("ws-%d", i)] = fmt.Sprintf("load 30s\n  owner{n=\"%d\"} %d\n", i, i)
	}
	f := open(t, Config{}, scripts)
	made := 0
	f.apis = newAPIs(4, func() *api { made++; return f.newAPI() })
	ask := func(i int) {
		code, body := f.get(t, fmt.Sprintf("ws-%d", i), "/query?query=owner&time=0")
		if code != 200 || body != fmt.Sprintf(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"owner","n":"%d"},"value":[0,"%d"]}]}}`, i, i) {
			t.Errorf("%d: %d %s", i, code, body)
		}
	}
	for i := range 20 {
		ask(i)
	}
	require.Equal(t, 1, made, "one after the other they need one")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for range 20 {
				ask(i)
			}
		})
	}
	wg.Wait()
	require.Nil(t, f.apis.take().Storage, "nobody's storage is kept")
}

func BenchmarkNewAPI(b *testing.B) {
	f := open(b, Config{}, nil)
	b.ReportAllocs()
	for b.Loop() {
		f.newAPI()
	}
}
