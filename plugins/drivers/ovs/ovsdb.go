package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// The tables of the switch's database.
const (
	tableSwitch    = "Open_vSwitch"
	tableBridge    = "Bridge"
	tablePort      = "Port"
	tableInterface = "Interface"
)

// connectWait bounds one attempt to reach the database server.
const connectWait = 5 * time.Second

type switchRow struct {
	UUID      string   `ovsdb:"_uuid"`
	Bridges   []string `ovsdb:"bridges"`
	NextCfg   int      `ovsdb:"next_cfg"`
	CurCfg    int      `ovsdb:"cur_cfg"`
	Datapaths []string `ovsdb:"datapath_types"`
}

type bridgeRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Datapath    string            `ovsdb:"datapath_type"`
	FailMode    *string           `ovsdb:"fail_mode"`
	Ports       []string          `ovsdb:"ports"`
	Controller  []string          `ovsdb:"controller"`
	Protocols   []string          `ovsdb:"protocols"`
	OtherConfig map[string]string `ovsdb:"other_config"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type portRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Interfaces  []string          `ovsdb:"interfaces"`
	Tag         *int              `ovsdb:"tag"`
	Trunks      []int             `ovsdb:"trunks"`
	VLANMode    *string           `ovsdb:"vlan_mode"`
	BondMode    *string           `ovsdb:"bond_mode"`
	LACP        *string           `ovsdb:"lacp"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type interfaceRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Type        string            `ovsdb:"type"`
	Options     map[string]string `ovsdb:"options"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
	MTURequest  *int              `ovsdb:"mtu_request"`
	OFPort      *int              `ovsdb:"ofport"`
	Error       *string           `ovsdb:"error"`
	// IfIndex is watched only: it changes when the link is made anew under its name.
	IfIndex *int `ovsdb:"ifindex"`
}

// A database keeps one session with the database server alive as far as it is
// used.
type database struct {
	endpoint string

	mu        sync.Mutex
	live      *session
	listeners map[int]func(arrival bool)
	next      int
}

func newDatabase(endpoint string) *database {
	return &database{endpoint: endpoint, listeners: map[int]func(bool){}}
}

// A session is one connection with its monitored copy of the tables.
type session struct {
	client client.Client
	tables *cache.TableCache
	// lost is closed when the connection has ended.
	lost chan struct{}

	mu   sync.Mutex
	tick chan struct{} // closed and replaced whenever a row changes
}

// open returns the live session, connecting if there is none.
func (d *database) open(ctx context.Context) (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live != nil {
		select {
		case <-d.live.lost:
		default:
			return d.live, nil
		}
	}
	s, err := d.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("switch database %s: %w", d.endpoint, err)
	}
	d.live = s
	return s, nil
}

// fresh returns a session whose tables hold all that was committed before the
// call. A dead connection is replaced once.
func (d *database) fresh(ctx context.Context) (*session, error) {
	for again := false; ; again = true {
		s, err := d.open(ctx)
		if err != nil {
			return nil, err
		}
		// The server sends pending updates before it answers.
		err = s.echo(ctx)
		if err == nil {
			return s, nil
		}
		d.forget(s)
		if again || ctx.Err() != nil {
			return nil, fmt.Errorf("switch database %s: %w", d.endpoint, err)
		}
	}
}

func (s *session) echo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	return s.client.Echo(ctx)
}

func (d *database) forget(s *session) {
	d.mu.Lock()
	if d.live == s {
		d.live = nil
	}
	d.mu.Unlock()
	s.client.Close()
}

func (d *database) close() {
	d.mu.Lock()
	s := d.live
	d.mu.Unlock()
	if s != nil {
		d.forget(s)
	}
}

func (d *database) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	tables, err := model.NewClientDBModel(tableSwitch, map[string]model.Model{
		tableSwitch: &switchRow{}, tableBridge: &bridgeRow{}, tablePort: &portRow{}, tableInterface: &interfaceRow{},
	})
	if err != nil {
		return nil, err
	}
	c, err := client.NewOVSDBClient(tables, client.WithEndpoint(d.endpoint))
	if err != nil {
		return nil, err
	}
	s := &session{client: c, lost: make(chan struct{}), tick: make(chan struct{})}
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	go func() {
		<-c.DisconnectNotify()
		close(s.lost)
		d.tell(false)
	}()
	s.tables = c.Cache()
	if s.tables == nil {
		return nil, client.ErrNotConnected
	}
	s.tables.AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(table string, m model.Model) { d.event(s, table, nil, m) },
		UpdateFunc: func(table string, old, m model.Model) { d.event(s, table, old, m) },
		DeleteFunc: func(table string, m model.Model) { d.event(s, table, m, nil) },
	})
	if err := s.monitor(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// monitor asks for the columns of the model only: statistics change all the
// time.
func (s *session) monitor(ctx context.Context) error {
	sw, br, po, in := &switchRow{}, &bridgeRow{}, &portRow{}, &interfaceRow{}
	_, err := s.client.Monitor(ctx, s.client.NewMonitor(
		client.WithTable(sw, &sw.Bridges, &sw.NextCfg, &sw.CurCfg, &sw.Datapaths),
		client.WithTable(br, &br.Name, &br.Datapath, &br.FailMode, &br.Ports, &br.Controller, &br.Protocols, &br.OtherConfig, &br.ExternalIDs),
		client.WithTable(po, &po.Name, &po.Interfaces, &po.Tag, &po.Trunks, &po.VLANMode, &po.BondMode, &po.LACP, &po.ExternalIDs),
		client.WithTable(in, &in.Name, &in.Type, &in.Options, &in.ExternalIDs, &in.MTURequest, &in.OFPort, &in.Error, &in.IfIndex),
	))
	return err
}

func (d *database) event(s *session, table string, before, after model.Model) {
	s.mu.Lock()
	close(s.tick)
	s.tick = make(chan struct{})
	s.mu.Unlock()
	if table == tableSwitch && before != nil && after != nil {
		if slices.Equal(before.(*switchRow).Bridges, after.(*switchRow).Bridges) {
			return // a configuration number moved
		}
	}
	d.tell(table == tableInterface && arrival(before, after))
}

// arrival reports whether a guest's port has got its number.
func arrival(before, after model.Model) bool {
	is := func(m model.Model) bool {
		l, ok := m.(*interfaceRow)
		if !ok {
			return false
		}
		_, open := plugged(l)
		return open && (l.ExternalIDs[keyIfaceID] != "" || l.ExternalIDs[keyMAC] != "")
	}
	return is(after) && !is(before)
}

// listen calls f, which must not block, whenever a row has changed or a
// connection was lost, until the returned function is called.
func (d *database) listen(f func(arrival bool)) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.next
	d.next++
	d.listeners[id] = f
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.listeners, id)
	}
}

func (d *database) tell(arrival bool) {
	d.mu.Lock()
	calls := slices.Collect(maps.Values(d.listeners))
	d.mu.Unlock()
	for _, f := range calls {
		f(arrival)
	}
}

// rows returns the rows of a table by uuid; they must not be changed.
func rows[R any](s *session, table string) map[string]*R {
	all := s.tables.Table(table).RowsShallow()
	out := make(map[string]*R, len(all))
	for id, m := range all {
		out[id] = m.(any).(*R)
	}
	return out
}

// An operation is one entry of a transaction.
type operation = ovsdb.Operation

// A row is the columns of an insert or update. Values are strings, ints, or what
// the functions below return.
type row map[string]any

// named refers to a row that the same transaction inserts.
func named(name string) any { return ovsdb.UUID{GoUUID: name} }

func set(values ...any) any { return ovsdb.OvsSet{GoSet: append([]any{}, values...)} }

func dict(m map[string]string) any {
	out := make(map[any]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return ovsdb.OvsMap{GoMap: out}
}

func insert(table, name string, columns row) operation {
	return operation{Op: ovsdb.OperationInsert, Table: table, UUIDName: name, Row: ovsdb.Row(columns)}
}

func where(column string, value any) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition(column, ovsdb.ConditionEqual, value)}
}

// update sets columns of the row of that name.
func update(table, name string, columns row) operation {
	return operation{Op: ovsdb.OperationUpdate, Table: table, Where: where("name", name), Row: ovsdb.Row(columns)}
}

// put makes keys of a map column be as in values; keys in drop go, all others
// stay as they are.
func put(table, name, column string, values map[string]string, drop ...string) operation {
	names := append(slices.Collect(maps.Keys(values)), drop...)
	slices.Sort(names)
	var keys []any // a set names nothing twice
	for _, k := range slices.Compact(names) {
		keys = append(keys, k)
	}
	return operation{Op: ovsdb.OperationMutate, Table: table, Where: where("name", name), Mutations: []ovsdb.Mutation{
		*ovsdb.NewMutation(column, ovsdb.MutateOperationDelete, set(keys...)),
		*ovsdb.NewMutation(column, ovsdb.MutateOperationInsert, dict(values)),
	}}
}

// link adds a row that the transaction inserts to a set column, unlink takes an
// old one out; a row that nothing refers to is gone.
func link(table, name, column, id string) operation {
	return operation{Op: ovsdb.OperationMutate, Table: table, Where: where("name", name),
		Mutations: []ovsdb.Mutation{*ovsdb.NewMutation(column, ovsdb.MutateOperationInsert, set(named(id)))}}
}

func unlink(table, name, column, id string) operation {
	return operation{Op: ovsdb.OperationMutate, Table: table, Where: where("name", name),
		Mutations: []ovsdb.Mutation{*ovsdb.NewMutation(column, ovsdb.MutateOperationDelete, set(ovsdb.UUID{GoUUID: id}))}}
}

// root turns an operation on a named row into one on the switch itself.
func root(v *view, op operation) operation {
	op.Table, op.Where = tableSwitch, where("_uuid", ovsdb.UUID{GoUUID: v.root.UUID})
	return op
}

// A rejection is a transaction that the server refused; Op is the operation at
// fault, -1 where the server named none.
type rejection struct {
	Op  int
	Err error
}

func (r *rejection) Error() string { return r.Err.Error() }
func (r *rejection) Unwrap() error { return r.Err }

// transact commits operations together with a new configuration number and
// waits until the switch has taken it. It returns a *rejection when nothing was
// committed.
func (s *session) transact(ctx context.Context, v *view, ops []operation) error {
	bump := root(v, operation{Op: ovsdb.OperationMutate, Mutations: []ovsdb.Mutation{
		*ovsdb.NewMutation("next_cfg", ovsdb.MutateOperationAdd, 1)}})
	read := root(v, operation{Op: ovsdb.OperationSelect, Columns: []string{"next_cfg"}})
	ops = append(slices.Clip(ops), bump, read)
	results, err := s.client.Transact(ctx, ops...)
	if err != nil {
		return fmt.Errorf("transact: %w", err)
	}
	if faults, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		at := slices.IndexFunc(results, func(r ovsdb.OperationResult) bool { return r.Error != "" })
		if at >= len(ops) {
			at = -1
		}
		if len(faults) > 0 {
			err = faults[0]
		}
		return &rejection{at, err}
	}
	last := results[len(ops)-1].Rows
	if len(last) != 1 {
		return errors.New("the switch's own row has vanished from its database")
	}
	return s.settled(ctx, number(last[0]["next_cfg"]))
}

func number(value any) int {
	switch n := value.(type) {
	case float64:
		return int(n)
	case int:
		return n
	}
	return 0
}

// settled waits until the switch has realised configuration target; ports and
// their errors are written in the same transaction as that number.
func (s *session) settled(ctx context.Context, target int) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		s.mu.Lock()
		tick := s.tick
		s.mu.Unlock()
		at := 0
		for _, r := range rows[switchRow](s, tableSwitch) {
			at = r.CurCfg
		}
		if at >= target {
			return nil
		}
		select {
		case <-tick:
		case <-s.lost:
			return errors.New("lost the switch's database while it took the configuration")
		case <-ctx.Done():
			return fmt.Errorf("the switch has not taken configuration %d (it is at %d), is ovs-vswitchd running? %w", target, at, ctx.Err())
		}
	}
}
