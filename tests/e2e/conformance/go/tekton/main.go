// tekton: takes a Task, and a TaskRun of it, as Tekton's webhook does, and prints the steps that its controller would run.
//
// Usage: tekton TASK [TASKRUN]
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/reconciler/taskrun/resources"
	"github.com/tektoncd/pipeline/pkg/workspace"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"
)

// What both kinds of object have.
type resource interface {
	apis.Defaultable
	apis.Validatable
}

func main() {
	ctx := apis.WithinCreate(context.Background())
	var task v1.Task
	check("the Task", admit(ctx, os.Args[1], &task))
	if len(os.Args) == 2 {
		return
	}
	var run v1.TaskRun
	check("the TaskRun", admit(ctx, os.Args[2], &run))
	steps, err := stepsOf(ctx, &task, &run)
	check("the steps", err)
	check("the answer", json.NewEncoder(os.Stdout).Encode(steps))
}

// admit reads an object, in which no field may be unknown, and gives it defaults and looks at it as the webhook does.
func admit(ctx context.Context, path string, object resource) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, object); err != nil {
		return err
	}
	object.SetDefaults(ctx)
	if err := object.Validate(ctx); err != nil {
		return err
	}
	return nil
}

// stepsOf does what the controller does between reading a TaskRun and making a pod of it, in the same order.
func stepsOf(ctx context.Context, task *v1.Task, run *v1.TaskRun) ([]v1.Step, error) {
	spec := task.Spec.DeepCopy()
	if err := workspace.ValidateBindings(ctx, spec.Workspaces, run.Spec.Workspaces); err != nil {
		return nil, err
	}
	resources.ApplyParametersToWorkspaceBindings(spec, run)
	volumes := workspace.CreateVolumes(run.Spec.Workspaces)
	spec = resources.ApplyParameters(spec, run, spec.Params...)
	spec = resources.ApplyContexts(spec, task.Name, run)
	spec = resources.ApplyResults(spec)
	spec = resources.ApplyArtifacts(spec)
	spec = resources.ApplyStepExitCodePath(spec)
	spec = resources.ApplyWorkspaces(ctx, spec, spec.Workspaces, run.Spec.Workspaces, volumes)
	if err := spec.Validate(ctx); err != nil {
		return nil, err
	}
	spec, err := workspace.Apply(ctx, *spec, run.Spec.Workspaces, volumes)
	if err != nil {
		return nil, err
	}
	return v1.MergeStepsWithStepTemplate(spec.StepTemplate, spec.Steps)
}

func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}
