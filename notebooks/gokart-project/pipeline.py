"""A small project on gokart: which of three kinds a wine is, from a chemical analysis.

``python pipeline.py`` runs it with gokart. ``workspace/`` is what it wrote, with gokart 1.12.2 in Python 3.11; the
notebook ``03-coming-from-gokart.ipynb`` goes on from there.
"""

import gokart
import luigi
from sklearn.datasets import load_wine
from sklearn.neighbors import KNeighborsClassifier


class LoadWine(gokart.TaskOnKart):
    """178 wines: thirteen measurements, and the kind."""

    def output(self):
        return self.make_target('data/wine.csv')

    def run(self):
        self.dump(load_wine(as_frame=True).frame)


class Split(gokart.TaskOnKart):
    """Wines to learn from, and wines to be judged by."""

    share = luigi.FloatParameter(default=0.3)

    def requires(self):
        return LoadWine()

    def output(self):
        return {'train': self.make_target('data/train.csv'), 'test': self.make_target('data/test.csv')}

    def run(self):
        wines = self.load()
        test = wines.sample(frac=self.share, random_state=0)
        self.dump(wines.drop(index=test.index), 'train')
        self.dump(test, 'test')


class Predict(gokart.TaskOnKart):
    """The kind of each wine, told by the nearest ones."""

    split = gokart.TaskInstanceParameter()
    neighbours = luigi.IntParameter(default=5)

    def output(self):
        return self.make_target('model/predictions.csv')

    def run(self):
        wines = self.load('split')
        model = KNeighborsClassifier(self.neighbours)
        model.fit(wines['train'].drop(columns='target'), wines['train']['target'])
        told = model.predict(wines['test'].drop(columns='target'))
        self.task_log['wines'] = len(told)
        self.dump(wines['test'][['target']].assign(told=told))


class Score(gokart.TaskOnKart):
    """The share of wines that are told right."""

    predictions = gokart.TaskInstanceParameter()

    def run(self):
        wines = self.load('predictions')
        self.dump(round(float((wines['target'] == wines['told']).mean()), 3))


def pipeline(neighbours):
    return Score(predictions=Predict(split=Split(), neighbours=neighbours))


if __name__ == '__main__':
    gokart.add_config('param.ini')
    print([gokart.build(pipeline(neighbours), reset_register=False) for neighbours in (5, 15)])
