// Built into package podautoscaler of k8s.io/kubernetes by `go test -overlay` (see README.md), so that it can call what
// that package does not export. It prints, as JSON, what the genuine HorizontalPodAutoscaler controller computes.

package podautoscaler

import (
	"encoding/json"
	"math/rand"
	"os"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

const key = "default/fleet"

type policy struct {
	Type   string `json:"type"`
	Value  int32  `json:"value"`
	Period int32  `json:"periodSeconds"`
}

type rules struct {
	Window   int32    `json:"stabilizationWindowSeconds"`
	Select   string   `json:"selectPolicy"`
	Policies []policy `json:"policies"`
}

// An entry of the controller's memory: so many seconds ago, so many replicas (of a scale event: the change).
type entry struct {
	Ago      float64 `json:"ago"`
	Replicas int32   `json:"replicas"`
}

// One call with a given memory: what each step of the controller makes of it.
type single struct {
	Up              rules   `json:"scaleUp"`
	Down            rules   `json:"scaleDown"`
	Min             int32   `json:"minReplicas"`
	Max             int32   `json:"maxReplicas"`
	Current         int32   `json:"current"`
	Desired         int32   `json:"desired"`
	Recommendations []entry `json:"recommendations"`
	Ups             []entry `json:"ups"`
	Downs           []entry `json:"downs"`
	Stabilized      int32   `json:"stabilized"`
	RateLimited     int32   `json:"rateLimited"`
	Normalized      int32   `json:"normalized"`
}

// Many calls, one each period, in which the controller keeps its own memory.
type run struct {
	Up      rules   `json:"scaleUp"`
	Down    rules   `json:"scaleDown"`
	Min     int32   `json:"minReplicas"`
	Max     int32   `json:"maxReplicas"`
	Start   int32   `json:"start"`
	Period  int32   `json:"periodSeconds"`
	Desired []int32 `json:"desired"`
	Sizes   []int32 `json:"sizes"`
}

type tolerance struct {
	Up     float64 `json:"up"`
	Down   float64 `json:"down"`
	Ratio  float64 `json:"ratio"`
	Within bool    `json:"within"`
}

type vectors struct {
	Singles    []single    `json:"singles"`
	Runs       []run       `json:"runs"`
	Tolerances []tolerance `json:"tolerances"`
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.Intn(len(from))] }

func aRule(r *rand.Rand, window int32, periods ...int32) rules {
	found := rules{Window: window, Select: pick(r, "Max", "Max", "Max", "Max", "Min", "Min", "Disabled")}
	for range 1 + r.Intn(3) {
		found.Policies = append(found.Policies, policy{
			Type: pick(r, "Pods", "Percent"), Value: pick[int32](r, 1, 2, 3, 4, 7, 10, 25, 33, 50, 100, 150), Period: pick(r, periods...),
		})
	}
	return found
}

func genuine(from rules) *autoscalingv2.HPAScalingRules {
	chosen := autoscalingv2.ScalingPolicySelect(from.Select)
	window := from.Window
	found := &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &window, SelectPolicy: &chosen}
	for _, each := range from.Policies {
		found.Policies = append(found.Policies, autoscalingv2.HPAScalingPolicy{
			Type: autoscalingv2.HPAScalingPolicyType(each.Type), Value: each.Value, PeriodSeconds: each.Period,
		})
	}
	return found
}

func forgetful() *HorizontalController {
	return &HorizontalController{
		recommendations:              map[string][]timestampedRecommendation{},
		scaleUpEvents:                map[string][]timestampedScaleEvent{},
		scaleDownEvents:              map[string][]timestampedScaleEvent{},
		downscaleStabilisationWindow: 300 * time.Second,
	}
}

// Half seconds keep entries off the edges of windows of whole seconds, where the time of the call itself would decide.
func entries(r *rand.Rand, most int, longest int, largest int32, smallest int32) []entry {
	found := []entry{}
	for range r.Intn(most + 1) {
		found = append(found, entry{Ago: float64(r.Intn(longest)) + 0.5, Replicas: smallest + r.Int31n(largest-smallest+1)})
	}
	return found
}

func events(from []entry, now time.Time) []timestampedScaleEvent {
	var found []timestampedScaleEvent
	for _, each := range from {
		found = append(found, timestampedScaleEvent{each.Replicas, now.Add(-time.Duration(each.Ago * float64(time.Second))), false})
	}
	return found
}

func aSingle(r *rand.Rand) single {
	s := single{
		Up:   aRule(r, pick[int32](r, 0, 0, 15, 60, 300), 15, 60, 300, 1800),
		Down: aRule(r, pick[int32](r, 0, 60, 300, 300, 600), 15, 60, 300, 1800),
		Min:  1 + r.Int31n(4),
	}
	s.Max = s.Min + r.Int31n(60)
	s.Current = s.Min + r.Int31n(s.Max-s.Min+1)
	s.Desired = r.Int31n(80)
	s.Recommendations = entries(r, 8, 700, 80, 0)
	s.Ups = entries(r, 4, 2000, 20, 1)
	s.Downs = entries(r, 4, 2000, 20, 1)

	fresh := func() *HorizontalController {
		now, a := time.Now(), forgetful()
		for _, each := range s.Recommendations {
			a.recommendations[key] = append(a.recommendations[key],
				timestampedRecommendation{each.Replicas, now.Add(-time.Duration(each.Ago * float64(time.Second)))})
		}
		a.scaleUpEvents[key], a.scaleDownEvents[key] = events(s.Ups, now), events(s.Downs, now)
		return a
	}
	arg := NormalizationArg{
		Key: key, ScaleUpBehavior: genuine(s.Up), ScaleDownBehavior: genuine(s.Down),
		MinReplicas: s.Min, MaxReplicas: s.Max, CurrentReplicas: s.Current, DesiredReplicas: s.Desired,
	}
	s.Stabilized, _, _ = fresh().stabilizeRecommendationWithBehaviors(arg)
	s.RateLimited, _, _ = fresh().convertDesiredReplicasWithBehaviorRate(arg)
	s.Normalized = fresh().normalizeDesiredReplicasWithBehaviors(hpa(s.Up, s.Down, s.Max), key, s.Current, s.Desired, s.Min)
	return s
}

func hpa(up, down rules, most int32) *autoscalingv2.HorizontalPodAutoscaler {
	found := &autoscalingv2.HorizontalPodAutoscaler{}
	found.Spec.MaxReplicas = most
	found.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: genuine(up), ScaleDown: genuine(down)}
	return found
}

// The clock of a synctest bubble moves only when everybody sleeps, so a run of an hour takes no time.
func aRun(r *rand.Rand) run {
	longest := pick[int32](r, 60, 120, 300)
	found := run{
		Up:     aRule(r, pick[int32](r, 0, 0, 45), longest),
		Down:   aRule(r, pick[int32](r, 0, 60, 180), longest),
		Min:    1 + r.Int31n(3),
		Period: 15,
	}
	// Another policy with a shorter period: both directions still remember for equally long.
	found.Up.Policies = append(found.Up.Policies, policy{Type: "Pods", Value: 1 + r.Int31n(6), Period: 15})
	found.Down.Policies = append(found.Down.Policies, policy{Type: "Percent", Value: 10 + r.Int31n(90), Period: 15})
	found.Max = found.Min + 10 + r.Int31n(40)
	found.Start = found.Min + r.Int31n(found.Max-found.Min+1)
	a, size, level := forgetful(), found.Start, found.Start
	behavior := hpa(found.Up, found.Down, found.Max)
	a.recommendations[key] = []timestampedRecommendation{{size, time.Now()}}
	for range 60 {
		if r.Intn(6) == 0 {
			level = r.Int31n(60)
		}
		desired := max(0, level+r.Int31n(5)-2)
		// Not on the edge: 15 s steps would else meet windows of whole minutes exactly.
		time.Sleep(time.Duration(found.Period)*time.Second + time.Millisecond)
		next := a.normalizeDesiredReplicasWithBehaviors(behavior, key, size, desired, found.Min)
		if next != size {
			a.storeScaleEvent(behavior.Spec.Behavior, key, size, next)
		}
		size = next
		found.Desired, found.Sizes = append(found.Desired, desired), append(found.Sizes, size)
	}
	return found
}

func TestVectors(t *testing.T) {
	r, found := rand.New(rand.NewSource(20261128)), vectors{}
	for range 4000 {
		found.Singles = append(found.Singles, aSingle(r))
	}
	synctest.Test(t, func(*testing.T) {
		for range 60 {
			found.Runs = append(found.Runs, aRun(r))
		}
	})
	for range 300 {
		tried := tolerance{
			Up: pick(r, 0.0, 0.05, 0.1, 0.5), Down: pick(r, 0.0, 0.05, 0.1, 0.5),
			Ratio: float64(r.Intn(40)) / float64(1+r.Intn(20)),
		}
		tried.Within = Tolerances{scaleDown: tried.Down, scaleUp: tried.Up}.isWithin(tried.Ratio)
		found.Tolerances = append(found.Tolerances, tried)
	}
	file, err := os.Create(os.Getenv("HPA_VECTORS"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(file).Encode(found); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
