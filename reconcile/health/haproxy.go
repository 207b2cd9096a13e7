package health

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// abstractLen is the length that HAProxy fills the name of an abstract socket up to
// with zeros (sun_path); the sign before it stands for the first.
const abstractLen = 108

// haproxy asks for the statistics. It is well while every listener is open; servers
// that are down are told: they are guests, or guests' doing.
func (n Net) haproxy(ctx context.Context, ns string, p resource.Probe) (string, error) {
	at := n.path(p.Path)
	if strings.HasPrefix(at, "@") && len(at) < abstractLen {
		at += strings.Repeat("\x00", abstractLen-len(at))
	}
	conn, err := n.dial(ctx, ns, "unix", at)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		return "", plain(err)
	}
	b, err := io.ReadAll(io.LimitReader(conn, maxReply))
	if err != nil {
		return "", plain(err)
	}
	return balancers(string(b))
}

// balancers reads "show stat".
func balancers(text string) (string, error) {
	if len(text) >= maxReply { // the last line may be a part of one
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# ")))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		return "", fmt.Errorf("its statistics cannot be read: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	column := func(name string) int { return slices.Index(rows[0], name) }
	proxy, server, status := column("pxname"), column("svname"), column("status")
	if proxy < 0 || server < 0 || status < 0 {
		return "", errors.New("its statistics name no proxies")
	}
	var closed, down []string
	listeners, servers := 0, 0
	for _, row := range rows[1:] {
		if len(row) <= max(proxy, server, status) {
			continue
		}
		switch state := row[status]; row[server] {
		case "FRONTEND":
			if listeners++; state != "OPEN" && state != "FULL" { // of as many connections as it may have
				closed = append(closed, row[proxy]+" is "+state)
			}
		case "BACKEND":
		default:
			if servers++; strings.HasPrefix(state, "DOWN") || strings.HasPrefix(state, "MAINT") {
				down = append(down, row[proxy]+"/"+row[server]+" is "+state)
			}
		}
	}
	if len(closed) > 0 {
		return "", errors.New(few(closed))
	}
	words := fmt.Sprintf("%d listeners open, %d of %d servers up", listeners, servers-len(down), servers)
	if len(down) > 0 {
		words += ": " + few(down)
	}
	return words, nil
}

// few is the beginning of a list.
func few(list []string) string {
	if more := len(list) - 5; more > 0 {
		list = append(slices.Clone(list[:5]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}
