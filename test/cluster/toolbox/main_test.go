package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestShopCountsPagesByStatus(t *testing.T) {
	srv := httptest.NewServer(newShop("shop-1"))
	defer srv.Close()
	var page strings.Builder
	for range 2 {
		if err := run(context.Background(), []string{"get", srv.URL}, &page); err != nil {
			t.Fatal(err)
		}
	}
	if page.String() != "shop-1\nshop-1\n" {
		t.Errorf("page: %q", page.String())
	}
	if err := run(context.Background(), []string{"get", srv.URL + "/nothing"}, &page); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("missing page: %v, want an error that names 404", err)
	}
	var metrics strings.Builder
	if err := run(context.Background(), []string{"get", srv.URL + "/metrics"}, &metrics); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nshop_requests_total{code=\"200\"} 2\n", "\nshop_requests_total{code=\"404\"} 1\n"} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("no %q in\n%s", want, metrics.String())
		}
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"dance"}, {"get"}, {"serve", "a", "b"}, {"resolve"}} {
		if err := run(context.Background(), args, &strings.Builder{}); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v, want usage", args, err)
		}
	}
}
