// What the tools that look at Sconce from outside make of an object or a query: Argo CD's interpreter of Lua, the
// status library of Flux and kpt, and Prometheus' parser. One question a line on stdin, one answer a line on stdout.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type question struct {
	// The script of a health check, with an object.
	Lua string `json:"lua"`
	// An object; without a script it is kstatus that is asked.
	Object map[string]any `json:"object"`
	// An expression of Prometheus.
	Query string `json:"query"`
}

type answer struct {
	Status  string     `json:"status,omitempty"`
	Message string     `json:"message,omitempty"`
	Selects []selector `json:"selects,omitempty"`
	Groups  []string   `json:"groups,omitempty"`
	Error   string     `json:"error,omitempty"`
}

// A metric with the labels that a query matches.
type selector struct {
	Metric string   `json:"metric"`
	Labels []string `json:"labels"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var asked question
		said, err := answer{}, json.Unmarshal(in.Bytes(), &asked)
		if err == nil {
			asked.Object, _ = whole(asked.Object).(map[string]any)
			said, err = judge(asked)
		}
		if err != nil {
			said = answer{Error: err.Error()}
		}
		if err := out.Encode(said); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func judge(asked question) (answer, error) {
	switch {
	case asked.Query != "":
		return parse(asked.Query)
	case asked.Lua != "":
		return health(asked.Lua, asked.Object)
	default:
		computed, err := status.Compute(&unstructured.Unstructured{Object: asked.Object})
		if err != nil {
			return answer{}, err
		}
		return answer{Status: computed.Status.String(), Message: computed.Message}, nil
	}
}

// With the libraries that Argo CD opens for a script (util/lua, without useOpenLibs), and no others.
func health(script string, object map[string]any) (answer, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		open := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(open, lua.LString(library.name)); err != nil {
			return answer{}, err
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return answer{}, err
	}
	returned, is := state.Get(-1).(*lua.LTable)
	if !is {
		return answer{}, fmt.Errorf("the script returned %s, not a table", state.Get(-1).Type())
	}
	return answer{
		Status:  lua.LVAsString(returned.RawGetString("status")),
		Message: lua.LVAsString(returned.RawGetString("message")),
	}, nil
}

// Numbers without a fraction as int64, as Kubernetes' own clients read them.
func whole(from any) any {
	switch from := from.(type) {
	case float64:
		if from == float64(int64(from)) {
			return int64(from)
		}
	case []any:
		for at := range from {
			from[at] = whole(from[at])
		}
	case map[string]any:
		for key := range from {
			from[key] = whole(from[key])
		}
	}
	return from
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case float64:
		return lua.LNumber(from)
	case int64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.CreateTable(len(from), 0)
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(from))
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

func parse(query string) (answer, error) {
	expression, err := parser.ParseExpr(query)
	if err != nil {
		return answer{}, err
	}
	said := answer{}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			selects := selector{Metric: node.Name, Labels: []string{}}
			for _, matcher := range node.LabelMatchers {
				if matcher.Name != labels.MetricName {
					selects.Labels = append(selects.Labels, matcher.Name)
				}
			}
			said.Selects = append(said.Selects, selects)
		case *parser.AggregateExpr:
			said.Groups = append(said.Groups, node.Grouping...)
		}
		return nil
	})
	return said, nil
}
