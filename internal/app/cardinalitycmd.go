package app

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/server/query"
)

func newCardinalityCmd() *cobra.Command {
	f := &awsFlags{}
	var workspace, label, window, churn string
	var selectors []string
	var limit int
	c := &cobra.Command{Use: "cardinality", Args: noArgs,
		Short: "Show what a workspace's series are made of, and what they would cost",
		Long: "Show a workspace's series by metric, by a label's values and by label: how many there are, how many\n" +
			"come and go, how many samples they have, and what a month of them costs by the server's price list\n" +
			"(setting query.price_list; without one, Amazon Managed Prometheus' in us-east-1).",
		RunE: func(cmd *cobra.Command, _ []string) error {
			form := url.Values{"label": {label}, "limit": {strconv.Itoa(limit)}, "match[]": selectors}
			for name, v := range map[string]string{"window": window, "churn_window": churn} {
				if v != "" {
					form.Set(name, v)
				}
			}
			ctx := cmd.Context()
			client, err := f.client(ctx)
			if err != nil {
				return err
			}
			if client.endpoint == "" {
				return usagef("Amazon's Managed Prometheus has no such view: name a mangru with --endpoint")
			}
			id, err := client.findWorkspace(ctx, workspace)
			if err != nil {
				return err
			}
			text, err := client.promAPI(ctx, id, "cardinality", form)
			if err != nil {
				return inExpression("", err)
			}
			var out struct {
				Data query.Cardinality `json:"data"`
			}
			if err := json.Unmarshal(text, &out); err != nil {
				return fmt.Errorf("the answer is not the JSON expected: %w", err)
			}
			return f.show(cmd, out.Data, func(t *table) { showCardinality(t, &out.Data) })
		},
	}
	f.register(c)
	p := c.Flags()
	p.StringVarP(&workspace, "workspace", "w", "", "id or alias of the workspace (default the only one there is)")
	p.StringVar(&label, "by", "job", "label whose values are listed, such as namespace")
	p.StringArrayVar(&selectors, "match", nil, "only these series, such as '{job=\"kubelet\"}'; may be repeated")
	p.IntVar(&limit, "limit", 20, "lines of each table")
	p.StringVar(&window, "window", "", "samples are counted in so long a time (default 5m)")
	p.StringVar(&churn, "churn-window", "", "new and ended series are counted in so long a time (default 1h)")
	return c
}

func showCardinality(t *table, c *query.Cardinality) {
	span := func(seconds float64) string {
		d, err := model.ParseDuration(strconv.FormatFloat(seconds, 'f', 0, 64) + "s")
		if err != nil {
			return ""
		}
		return d.String()
	}
	money := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
	row := func(e query.CardinalityEntry) {
		t.row(e.Name, strconv.Itoa(e.Series), percent(e.Series, c.Total.Series), "+"+strconv.Itoa(e.New), "-"+strconv.Itoa(e.Ended),
			short(e.SamplesPerSecond), money(e.CostPerMonth))
	}
	heads := func(name string) {
		t.row(name, "SERIES", "SHARE", "NEW", "ENDED", "SAMPLES/S", c.Prices.Currency+"/MONTH")
	}
	heads("")
	all := c.Total
	all.Name = "all"
	row(all)
	t.text("")
	heads("METRIC")
	for _, e := range c.Metrics {
		row(e)
	}
	more(t, c.MetricCount-len(c.Metrics))
	t.text("")
	heads(c.Label)
	for _, e := range c.Values {
		row(e)
	}
	more(t, c.ValueCount-len(c.Values))
	t.text("")
	t.row("LABEL", "VALUES", "SERIES", "MOST WITH", "SERIES")
	for _, l := range c.Labels {
		value := l.Largest
		if r := []rune(value); len(r) > 40 {
			value = string(r[:39]) + "…"
		}
		t.row(l.Name, strconv.Itoa(l.Values), strconv.Itoa(l.Series), value, strconv.Itoa(l.LargestSeries))
	}
	more(t, c.LabelCount-len(c.Labels))
	t.text("")
	t.text(fmt.Sprintf("Samples of %s, new and ended series of %s. Prices: %s (%s), for samples taken in, 30 days.",
		span(c.Window), span(c.ChurnWindow), c.Prices.Name, c.Prices.Source))
}

func more(t *table, n int) {
	if n > 0 {
		t.text(fmt.Sprintf("... and %d more (--limit)", n))
	}
}

func percent(part, of int) string {
	if of == 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(part)/float64(of), 'f', 1, 64) + "%"
}
