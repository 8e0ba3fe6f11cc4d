"""Runs the stock TFX pipeline (template defaults) over a CSV folder, and prints seconds per component as JSON.

usage: run_stock.py CSV_DIR OUT_DIR [TRAIN_STEPS] [REPEAT] [BEAM_ARG ...]
"""
import json, os, sys, time
T0 = time.time()
import tensorflow_model_analysis as tfma
from absl import logging
from tfx import v1 as tfx
from tfx.orchestration.portable import launcher
logging.set_verbosity(logging.WARNING)
IMPORT = time.time() - T0
module = 'flights_module'
data, out = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
repeat = int(sys.argv[4]) if len(sys.argv) > 4 else 1
beam = sys.argv[5:]
times = {}
orig = launcher.Launcher.launch
def timed(self):
    t = time.time()
    try:
        return orig(self)
    finally:
        times[self._pipeline_node.node_info.id] = round(time.time() - t, 2)
launcher.Launcher.launch = timed


def pipe():
    C = tfx.components
    S = tfx.proto.SplitConfig
    gen = C.CsvExampleGen(input_base=data, output_config=tfx.proto.Output(split_config=S(
        splits=[S.Split(name='train', hash_buckets=2), S.Split(name='eval', hash_buckets=1)],
        partition_feature_name='date')))
    stats = C.StatisticsGen(examples=gen.outputs['examples'])
    schema = C.SchemaGen(statistics=stats.outputs['statistics'])
    val = C.ExampleValidator(statistics=stats.outputs['statistics'], schema=schema.outputs['schema'])
    tr = C.Transform(examples=gen.outputs['examples'], schema=schema.outputs['schema'],
                     preprocessing_fn=module + '.preprocessing_fn')
    trainer = C.Trainer(run_fn=module + '.run_fn', examples=tr.outputs['transformed_examples'],
                        transform_graph=tr.outputs['transform_graph'], schema=schema.outputs['schema'],
                        train_args=tfx.proto.TrainArgs(num_steps=steps), eval_args=tfx.proto.EvalArgs(num_steps=100))
    res = tfx.dsl.Resolver(strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
                           model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
                           model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing)
                           ).with_id('latest_blessed_model_resolver')
    ec = tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name='serving_default', label_key='late',
                                    preprocessing_function_names=['transform_features'])],
        slicing_specs=[tfma.SlicingSpec(), tfma.SlicingSpec(feature_keys=['origin'])],
        metrics_specs=[tfma.MetricsSpec(metrics=[
            tfma.MetricConfig(class_name='ExampleCount'),
            tfma.MetricConfig(class_name='AUC', threshold=tfma.MetricThreshold(
                value_threshold=tfma.GenericValueThreshold(lower_bound={'value': 0.6}),
                change_threshold=tfma.GenericChangeThreshold(
                    direction=tfma.MetricDirection.HIGHER_IS_BETTER, absolute={'value': -0.02})))])])
    ev = C.Evaluator(examples=gen.outputs['examples'], model=trainer.outputs['model'],
                     baseline_model=res.outputs['model'], eval_config=ec)
    push = C.Pusher(model=trainer.outputs['model'], model_blessing=ev.outputs['blessing'],
                    push_destination=tfx.proto.PushDestination(filesystem=tfx.proto.PushDestination.Filesystem(
                        base_directory=out + '/serving')))
    return tfx.dsl.Pipeline(pipeline_name='stock', pipeline_root=out + '/root',
                            components=[gen, stats, schema, val, tr, trainer, res, ev, push],
                            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(out + '/md.db'),
                            beam_pipeline_args=beam or None)


for i in range(repeat):
    t = time.time(); times.clear()
    tfx.orchestration.LocalDagRunner().run(pipe())
    import resource
    print(json.dumps({'import_s': round(IMPORT, 1), 'run_s': round(time.time() - t, 1), 'components': times,
                      'maxrss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                      'pushed': sorted(os.listdir(out + '/serving')) if os.path.isdir(out + '/serving') else []}), flush=True)
