"""What a user would write instead: one plain script (pandas + Keras), the same model, steps and outputs, no checks.

usage: run_plain.py CSV OUT_DIR [TRAIN_STEPS]
"""
import json, os, resource, sys, time
T0 = time.time()
import keras, numpy as np, pandas as pd, tensorflow as tf
from sklearn.metrics import roc_auc_score
IMPORT = time.time() - T0
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from day_split import is_train
NUM = ['distance', 'temp', 'dewp', 'humid', 'wind_dir', 'wind_speed', 'precip', 'pressure', 'visib', 'plane_year', 'seats', 'minute']
STR = ['carrier', 'origin', 'dest', 'engine', 'manufacturer']
INT = {'month': 13, 'weekday': 7, 'hour': 24}
csv, out = sys.argv[1], sys.argv[2]
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
t = time.time()
df = pd.read_csv(csv)
desc = df.describe(include='all')
tr = df['date'].map({d: is_train(d) for d in df['date'].unique()}).to_numpy(bool)
feats = {}
for k in NUM:
    v = df[k].fillna(0).to_numpy('float32')
    mu, sd = v[tr].mean(), v[tr].std()
    feats[k + '_xf'] = ((v - mu) / sd)[:, None]
    q = np.unique(np.quantile(v[tr], np.linspace(0, 1, 11)[1:-1]))
    feats[k + '_bk'] = np.digitize(v, q)[:, None]
for k in STR:
    voc = {s: i for i, s in enumerate(df[k][tr].fillna('').value_counts().index[:200])}
    feats[k + '_xf'] = df[k].fillna('').map(voc).fillna(200).astype('int64').to_numpy()[:, None]
for k in INT:
    feats[k + '_xf'] = df[k].to_numpy()[:, None]
y = df['late'].to_numpy('float32')
ins, parts = {}, []
for k in feats:
    f = feats[k].dtype == np.float32
    ins[k] = i = keras.Input((1,), name=k, dtype='float32' if f else 'int64')
    parts.append(i if f else keras.layers.Flatten()(keras.layers.Embedding(int(feats[k].max()) + 2, 8 if k[:-3] in STR else 4)(i)))
x = keras.layers.Concatenate()(parts)
for u in (128, 64):
    x = keras.layers.Dense(u, activation='relu')(x)
m = keras.Model(ins, keras.layers.Dense(1, activation='sigmoid')(x))
m.compile(loss='binary_crossentropy', optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)), metrics=[keras.metrics.AUC(name='auc')])
ds = tf.data.Dataset.from_tensor_slices(({k: v[tr] for k, v in feats.items()}, y[tr])).shuffle(50000).batch(256).repeat().prefetch(2)
m.fit(ds, steps_per_epoch=steps, verbose=2)
p = m.predict({k: v[~tr] for k, v in feats.items()}, batch_size=8192, verbose=0)[:, 0]
auc = roc_auc_score(y[~tr], p)
sl = {o: roc_auc_score(y[~tr][(df['origin'][~tr] == o)], p[(df['origin'][~tr] == o)]) for o in df['origin'].unique()}
m.export(out, verbose=False)
print(json.dumps({'import_s': round(IMPORT, 1), 'run_s': round(time.time() - t, 1), 'auc': round(auc, 4), 'slices': {k: round(v, 4) for k, v in sl.items()},
                  'rows': {'train': int(tr.sum()), 'eval': int((~tr).sum())},
                  'maxrss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
