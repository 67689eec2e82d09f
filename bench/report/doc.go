// Package report shows what the benchmarks measured: as a table, as JSON, as plots, and as the part of a Markdown
// page that a run writes anew.
package report
